//! What streams carry, and whether what arrived can come of what was sent.

use std::sync::LazyLock;

/// The longest send.
pub const LONGEST: usize = 128 << 10;

/// Bytes that look like nothing else, so that any piece tells where it comes from.
static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = fastrand::Rng::with_seed(0x7AB1E);
    std::iter::repeat_with(|| rng.u8(..)).take(LONGEST + (64 << 10)).collect()
});

/// The bytes of one send: of the `number`th operation of a program.
pub fn of(number: usize, length: usize) -> &'static [u8] {
    assert!(length <= LONGEST);
    let start = number.wrapping_mul(40_503) % (64 << 10);
    &TABLE[start..start + length]
}

/// How much of a send went out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    Known(usize),
    /// It was removed: nothing, all, or a part behind which nothing follows.
    Unknown,
}

#[derive(Copy, Clone, Debug)]
pub struct Sent {
    /// Which operation it was: the content's number.
    pub number: usize,
    pub length: usize,
    pub moved: Moved,
}

/// Whether `received` can be what came of these sends, in their order; `complete` if nothing may be missing.
pub fn explains(mut received: &[u8], mut sends: &[Sent], complete: bool) -> bool {
    while let Some((send, rest)) = sends.split_first() {
        let content = of(send.number, send.length);
        match send.moved {
            Moved::Known(moved) => {
                let arrived = moved.min(received.len());
                if received[..arrived] != content[..arrived] || (arrived < moved && complete) {
                    return false;
                }
                if arrived < moved {
                    return true;
                }
                received = &received[arrived..];
            }
            Moved::Unknown => {
                let whole =
                    received.starts_with(content) && explains(&received[content.len()..], rest, complete);
                if whole || is_cut(received, content, rest, complete) {
                    return true;
                }
            }
        }
        sends = rest;
    }
    received.is_empty()
}

/// Whether a removed send's first part is all that arrived, and nothing behind it can have been sent.
fn is_cut(received: &[u8], content: &[u8], rest: &[Sent], complete: bool) -> bool {
    let part = received.len() < content.len() && content.starts_with(received);
    part && (!complete || rest.iter().all(|send| matches!(send.moved, Moved::Known(0) | Moved::Unknown)))
}

/// The check itself must be able to fail.
pub fn check_yourself() {
    let sent = |number, length, moved| Sent { number, length, moved };
    let sends =
        [sent(1, 100, Moved::Known(100)), sent(2, 50, Moved::Unknown), sent(3, 100, Moved::Known(40))];
    let with = [of(1, 100), of(2, 50), of(3, 40)].concat();
    let without = [of(1, 100), of(3, 40)].concat();
    assert!(explains(&with, &sends, true) && explains(&without, &sends, true));
    assert!(explains(&with[..120], &sends, false) && !explains(&with[..120], &sends, true));
    assert!(!explains(&[of(1, 99), of(3, 40)].concat(), &sends, false), "a lost byte");
    assert!(!explains(&[of(3, 40), of(1, 100)].concat(), &sends, false), "the wrong order");
    assert!(!explains(&[of(1, 100), of(2, 20), of(3, 40)].concat(), &sends, false), "a hole");
    assert!(!explains(&[&with[..], &[0]].concat(), &sends, false), "a byte from nowhere");
}
