//! How long a start takes, and how large the program is: ours until a handshake succeeds, the peers
//! until they accept connections, which is earlier.

use std::fs;

use super::contender::Contender;
use super::figure::Figure;
use super::found::Found;
use super::load::client::Group;
use super::peers::Program;
use super::site::Site;
use super::sizes::Sizes;

pub(super) fn measure(
    site: &Site,
    program: &Program,
    _sizes: &Sizes,
    found: &mut Found,
) -> anyhow::Result<()> {
    let contender = program.contender;
    let mut terminator = site.spawn(program, "credentials")?;
    if contender == Contender::Countersign {
        terminator.serves(&site.client(Group::X25519, &terminator)?)?;
    } else {
        terminator.accepts()?;
    }
    found.add(Figure::Ready, contender, terminator.started.elapsed().as_secs_f64() * 1e3);
    found.add(Figure::Binary, contender, fs::metadata(&program.path)?.len() as f64 / 1e6);
    Ok(())
}
