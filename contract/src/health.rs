//! The messages of `grpc.health.v1.Health/Check`, as gRPC carries them: five bytes that say that
//! nothing is compressed and how long the message is, and then the message.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use prost::Message;

/// The path of the method.
pub const PATH: &str = "/grpc.health.v1.Health/Check";

/// The longest answer that is read, in bytes: the message is two of them.
pub const LONGEST: usize = 4096;

/// `ServingStatus.SERVING`
const SERVING: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The question about a service.
#[must_use]
pub fn request(service: &str) -> Vec<u8> {
    let message = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), &message].concat()
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It serves.
    Serving,
    /// It says that it does not, by this number.
    Not(i32),
    /// It said something else.
    Garbled,
}

/// Reads an answer.
#[must_use]
pub fn answer(bytes: &[u8]) -> Health {
    let Some((&[0, a, b, c, d], message)) = bytes.split_first_chunk::<5>() else {
        return Health::Garbled;
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let message = (message.len() == length).then(|| HealthCheckResponse::decode(message));
    match message {
        Some(Ok(HealthCheckResponse { status: SERVING })) => Health::Serving,
        Some(Ok(HealthCheckResponse { status })) => Health::Not(status),
        _ => Health::Garbled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_framed_as_grpc_asks() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("db"), [0, 0, 0, 0, 4, 10, 2, b'd', b'b']);
    }

    #[test]
    fn only_serving_is_serving() {
        let cases: [(&[u8], Health); 8] = [
            (&[0, 0, 0, 0, 2, 8, 1], Health::Serving),
            (&[0, 0, 0, 0, 2, 8, 2], Health::Not(2)),
            (&[0, 0, 0, 0, 2, 8, 3], Health::Not(3)),
            // Unknown, since zeros are not sent.
            (&[0, 0, 0, 0, 0], Health::Not(0)),
            (&[1, 0, 0, 0, 2, 8, 1], Health::Garbled),
            (&[0, 0, 0, 0, 3, 8, 1], Health::Garbled),
            (&[0, 0, 0, 0, 1, 8, 1], Health::Garbled),
            (&[0, 0], Health::Garbled),
        ];
        for (bytes, expected) in cases {
            assert_eq!(answer(bytes), expected, "{bytes:?}");
        }
    }
}
