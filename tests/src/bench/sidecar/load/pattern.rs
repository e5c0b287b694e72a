//! What a stream carries: a block, over and over, in which each stretch has its own value. So whoever
//! reads can tell, from two bytes of each piece, that nothing was lost, doubled or moved.

use anyhow::ensure;

/// How long the block is; also how much is written at once.
pub(crate) const BLOCK: usize = 256 * 1024;

/// How long each value lasts: shorter than a record, and a prime, so that no slip of whole records,
/// pages or buffers within a block hits the same value.
const STRETCH: u64 = 1_031;

/// The value at an offset of the stream.
#[must_use]
pub(crate) fn value(offset: u64) -> u8 {
    let within = offset % BLOCK as u64;
    (within / STRETCH).to_le_bytes()[0]
}

/// The block.
#[must_use]
pub(crate) fn block() -> Vec<u8> {
    (0..BLOCK as u64).map(value).collect()
}

/// Checks a piece that was read from an offset on.
pub(crate) fn check(offset: u64, piece: &[u8]) -> anyhow::Result<()> {
    let (Some(first), Some(last)) = (piece.first(), piece.last()) else { return Ok(()) };
    let end = offset + piece.len() as u64 - 1;
    let right = *first == value(offset) && *last == value(end);
    ensure!(right, "bytes {offset} to {end} of a stream are not those that were sent");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_recognised_where_it_belongs_alone() {
        let block = block();
        let piece = &block[20_000..40_000];
        assert!(check(20_000, piece).is_ok());
        assert!(check(BLOCK as u64 * 3 + 20_000, piece).is_ok());
        assert!(check(20_000 + 16_384, piece).is_err());
        assert!(check(20_000, &piece[..piece.len() - 2_000]).is_ok());
        assert!(check(5, &[]).is_ok());
    }
}
