//! The records of a run's result channel: what the shim and the keeper say, and finding it between whatever else is there.
//!
//! Owns the records' shapes and their framing (RS, JSON object, LF). Judges nothing: `verdict` does. In the flow it stands
//! between the bytes that `process` reads and the outcome.
//!
//! The script owns the process that the shim runs in and may forge or garble records: nothing here may fail, block or grow
//! because of what stands in them.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::keep_protocol::{ExitRecord, PROTOCOL_VERSION, RECORD_END, RECORD_START};
use crate::run::{Reason, RunError};

/// One record.
#[derive(Debug)]
pub enum Record {
    /// The shim is up and waits for the go.
    Ready,
    /// `run()` returned.
    Succeeded(SucceededRecord),
    /// `run()` raised, or was never reached.
    Failed(FailedRecord),
    /// The keeper: the program could not be started.
    SpawnFailed {
        /// Why, as a sentence.
        error: String,
    },
    /// The keeper's last word.
    Exit(ExitRecord),
    /// A record of a later version; there is nothing to do about it.
    Unknown,
}

/// What `run()` returned.
#[derive(Debug, Deserialize)]
pub struct SucceededRecord {
    /// The value's text, digit for digit.
    #[serde(default)]
    pub value: Option<Box<RawValue>>,
    /// False if there is no value to keep, which a `null` value is not.
    #[serde(default)]
    pub has_value: bool,
    /// What the shim changed to make the value fit.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// SHA-256 of the bytes that ran.
    #[serde(default)]
    pub script_sha256: Option<String>,
}

/// Why there is no value.
#[derive(Debug)]
pub struct FailedRecord {
    /// One of `failed`'s reasons.
    pub reason: Reason,
    /// The exception.
    pub error: Option<RunError>,
    /// What the shim wants known besides.
    pub warnings: Vec<String>,
    /// SHA-256 of the bytes that ran.
    pub script_sha256: Option<String>,
}

#[derive(Deserialize)]
struct Head {
    v: u32,
    record: String,
    #[serde(default)]
    status: Option<String>,
}

#[derive(Deserialize)]
struct FailedFields {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    error: Option<RunError>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    script_sha256: Option<String>,
}

#[derive(Deserialize)]
struct SpawnFailedFields {
    error: String,
}

impl Record {
    /// Reads one record's JSON. The kind is read first and the fields after it: serde's own tagged enums buffer their
    /// content, which would take the value's digits.
    fn parse(json: &[u8]) -> serde_json::Result<Record> {
        let head: Head = serde_json::from_slice(json)?;
        if head.v != PROTOCOL_VERSION {
            return Ok(Record::Unknown);
        }
        Ok(match (head.record.as_str(), head.status.as_deref()) {
            ("ready", _) => Record::Ready,
            ("result", Some("succeeded")) => Record::Succeeded(serde_json::from_slice(json)?),
            ("result", Some("failed")) => Record::Failed(serde_json::from_slice::<FailedFields>(json)?.into()),
            ("spawn_failed", _) => Record::SpawnFailed {
                error: serde_json::from_slice::<SpawnFailedFields>(json)?.error,
            },
            ("exit", _) => Record::Exit(serde_json::from_slice(json)?),
            _ => Record::Unknown,
        })
    }
}

impl From<FailedFields> for FailedRecord {
    fn from(fields: FailedFields) -> FailedRecord {
        // A script that forges a reason gets no further than another way of having failed.
        let reason = fields.reason.as_deref().and_then(|word| word.parse().ok());
        FailedRecord {
            reason: reason
                .filter(|reason| SHIM_REASONS.contains(reason))
                .unwrap_or(Reason::Raised),
            error: fields.error,
            warnings: fields.warnings,
            script_sha256: fields.script_sha256,
        }
    }
}

/// The reasons that a shim can know.
const SHIM_REASONS: [Reason; 7] = [
    Reason::Raised,
    Reason::LoadFailed,
    Reason::NoRun,
    Reason::RunNotCallable,
    Reason::RunNeedsArgs,
    Reason::Exited,
    Reason::Signal,
];

/// Finds records in a stream of bytes. Its memory is bounded by the longest record it accepts.
#[derive(Debug)]
pub struct RecordReader {
    longest: usize,
    place: Place,
    record: Vec<u8>,
    /// What was no record.
    pub noise: Noise,
}

/// What the result channel carried besides records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noise {
    /// Bytes between records.
    pub stray_bytes: u64,
    /// Framed as records, but unreadable.
    pub broken_records: u32,
    /// Longer than accepted.
    pub overlong_records: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between,
    Inside,
    /// Inside of one that is too long to keep.
    Overlong,
}

impl RecordReader {
    /// A reader that keeps records of up to `longest` bytes.
    pub fn new(longest: usize) -> RecordReader {
        RecordReader {
            longest,
            place: Place::Between,
            record: Vec::new(),
            noise: Noise::default(),
        }
    }

    /// Takes the next bytes and gives the records that they complete.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<Record> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| matches!(*byte, RECORD_START | RECORD_END));
            let (content, mark) = (&bytes[..end.unwrap_or(bytes.len())], end.map(|at| bytes[at]));
            self.take(content);
            match mark {
                Some(RECORD_START) => self.open(),
                Some(_) => records.extend(self.close()),
                None => {}
            }
            bytes = &bytes[content.len() + usize::from(mark.is_some())..];
        }
        records
    }

    fn take(&mut self, content: &[u8]) {
        match self.place {
            Place::Between => self.noise.stray_bytes += content.len() as u64,
            Place::Inside if self.record.len() + content.len() > self.longest => {
                self.record = Vec::new();
                self.noise.overlong_records += 1;
                self.place = Place::Overlong;
            }
            Place::Inside => self.record.extend_from_slice(content),
            Place::Overlong => {}
        }
    }

    /// JSON text escapes both marks: one inside of a record means that the record was cut off.
    fn open(&mut self) {
        if self.place == Place::Inside {
            self.noise.broken_records += 1;
        }
        self.record.clear();
        self.place = Place::Inside;
    }

    fn close(&mut self) -> Option<Record> {
        let place = std::mem::replace(&mut self.place, Place::Between);
        let json = std::mem::take(&mut self.record);
        match place {
            Place::Between => {
                self.noise.stray_bytes += 1;
                None
            }
            Place::Overlong => None,
            Place::Inside => match Record::parse(&json) {
                Ok(record) => Some(record),
                Err(_) => {
                    self.noise.broken_records += 1;
                    None
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Vec<Record>, Noise) {
        let mut reader = RecordReader::new(4096);
        (reader.push(bytes), reader.noise)
    }

    #[test]
    fn a_value_keeps_every_digit() {
        let text = br#"{"v":1,"record":"result","status":"succeeded","value":{"n":12345678901234567890123,"x":1e400,"d":0.10},"has_value":true,"later":1}"#;
        let (records, noise) = read(&[b"\x1e", &text[..], b"\n"].concat());
        let [Record::Succeeded(record)] = &records[..] else {
            panic!("{records:?}")
        };
        assert_eq!(
            record.value.as_ref().unwrap().get(),
            r#"{"n":12345678901234567890123,"x":1e400,"d":0.10}"#
        );
        assert_eq!(noise, Noise::default());
    }

    #[test]
    fn a_null_value_is_a_value() {
        let (records, _) =
            read(b"\x1e{\"v\":1,\"record\":\"result\",\"status\":\"succeeded\",\"value\":null,\"has_value\":true}\n");
        let [Record::Succeeded(record)] = &records[..] else {
            panic!("{records:?}")
        };
        assert!(record.has_value);
    }

    #[test]
    fn records_are_found_between_garbage_and_at_any_split() {
        let stream = b"hello\n\x1e{\"v\":1,\"record\":\"ready\"}\n\x00\xff\x1e{\"v\":1,\"rec\x1e{\"v\":1,\"record\":\"exit\",\"code\":3,\"signal\":null}\n\x1enot json\n\x1e{\"v\":1,\"record\":\"from the future\"}\n";
        for split in 0..stream.len() {
            let mut reader = RecordReader::new(4096);
            let mut records = reader.push(&stream[..split]);
            records.extend(reader.push(&stream[split..]));
            assert!(
                matches!(
                    &records[..],
                    [
                        Record::Ready,
                        Record::Exit(ExitRecord { code: Some(3), .. }),
                        Record::Unknown
                    ]
                ),
                "{records:?}"
            );
            assert_eq!(
                reader.noise,
                Noise {
                    stray_bytes: 8,
                    broken_records: 2,
                    overlong_records: 0
                }
            );
        }
    }

    #[test]
    fn an_overlong_record_is_cut_and_the_next_one_is_read() {
        let mut reader = RecordReader::new(64);
        assert!(reader.push(b"\x1e{\"v\":1,").is_empty());
        for _ in 0..1000 {
            assert!(reader.push(&[b'x'; 1000]).is_empty());
            assert!(reader.record.capacity() <= 64);
        }
        let records = reader.push(b"\n\x1e{\"v\":1,\"record\":\"ready\"}\n");
        assert!(matches!(&records[..], [Record::Ready]));
        assert_eq!(reader.noise.overlong_records, 1);
    }

    #[test]
    fn a_forged_reason_stays_a_failure() {
        let (records, _) = read(
            b"\x1e{\"v\":1,\"record\":\"result\",\"status\":\"failed\",\"reason\":\"node_gone\",\"error\":null}\n",
        );
        let [Record::Failed(record)] = &records[..] else {
            panic!("{records:?}")
        };
        assert_eq!(record.reason, Reason::Raised);
    }
}
