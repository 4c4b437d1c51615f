//! What the simulated producers write: every record has an identity of its own, and its bytes follow from it, so that a reader knows from
//! any record what it must look like to the last byte.

use crate::rng::Rng;

/// A record's identity, unique in a run. It is the first thing in its value (in its key when the value is null).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u64);

/// Set in the identity of a record that has one of few keys, and that may delete it.
const KEYED: u64 = 1 << 62;
/// The header of a record without a value and with such a key: its identity.
const NAME_HEADER: &str = "name";
/// Keys of such records.
const KEYS: u64 = 12;

impl RecordId {
    /// The same, of a record that has one of few keys.
    #[must_use]
    pub fn keyed(self) -> RecordId {
        RecordId(self.0 | KEYED)
    }

    /// Whether it is.
    pub fn is_keyed(self) -> bool {
        self.0 & KEYED != 0
    }

    /// Its number in the run.
    pub fn number(self) -> u64 {
        self.0 & !KEYED
    }
}

/// A record's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Longest value in bytes.
pub const VALUE_BYTES_MAX: u64 = 40_000;

/// The bytes of a record.
pub fn content(id: RecordId) -> Content {
    let mut rng = Rng::new(id.0 ^ 0x666c_6f65);
    let name = id.0.to_be_bytes().to_vec();
    if id.is_keyed() {
        let key = Some(format!("key-{}", rng.below(KEYS)).into_bytes());
        if rng.percent(20) {
            return Content { key, value: None, headers: vec![(NAME_HEADER.into(), Some(name))] };
        }
        let mut value = name;
        let len = if rng.percent(5) { rng.range(1_000, 8_000) } else { rng.range(0, 300) };
        value.resize(value.len() + len as usize, b'v');
        return Content { key, value: Some(value), headers: Vec::new() };
    }
    if rng.below(24) == 0 {
        return Content { key: Some(name), value: None, headers: Vec::new() };
    }
    let len = match rng.below(100) {
        0 => rng.range(8_000, VALUE_BYTES_MAX),
        1..=10 => rng.range(500, 4_000),
        _ => rng.range(0, 200),
    };
    let mut value = name;
    // Half of it compresses well, half does not.
    let plain = rng.percent(50);
    while (value.len() as u64) < len + 8 {
        let word = if plain { 0x6162_6364_6162_6364 } else { rng.u64() };
        value.extend_from_slice(&word.to_le_bytes());
    }
    let key = rng.percent(40).then(|| match (rng.below(256) as u8, rng.below(20) as usize) {
        // Keys that come again, for compaction.
        (byte, len @ 0..12) => vec![byte % 4; len % 3],
        (byte, len) => vec![byte; len],
    });
    let header = |rng: &mut Rng, i: u64| (format!("h{i}"), rng.percent(80).then(|| rng.u64().to_be_bytes().to_vec()));
    let headers =
        if rng.percent(15) { (0..rng.range(1, 3)).map(|i| header(&mut rng, i)).collect() } else { Vec::new() };
    Content { key, value: Some(value), headers }
}

/// Whose bytes these claim to be.
pub fn identify(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(String, Option<Vec<u8>>)]) -> Option<RecordId> {
    let in_header = headers.iter().find(|(name, _)| name == NAME_HEADER).and_then(|(_, value)| value.as_deref());
    let name = value.or(in_header).or(key)?.first_chunk::<8>()?;
    Some(RecordId(u64::from_be_bytes(*name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_names_itself() {
        for id in (0..2000).flat_map(|n| [RecordId(n), RecordId(n).keyed()]) {
            let made = content(id);
            assert_eq!(identify(made.key.as_deref(), made.value.as_deref(), &made.headers), Some(id));
            assert_eq!(made, content(id));
        }
    }
}
