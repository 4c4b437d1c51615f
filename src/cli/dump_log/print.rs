//! How `dump-log` prints what it finds: lines for people, or one JSON object a line; and the count of what is damaged.

use floe_wire::batch::{self, BatchHeader};
use serde_json::{Value, json};

use super::Known;
use crate::cli::client::position::shown;
use crate::cli::client::record::ReadRecord;
use crate::cli::output::Output;
use crate::problem::Outcome;

/// A dump under way.
pub(super) struct Dump {
    /// Whether objects are printed.
    pub(super) json: bool,
    /// What some files say about others.
    pub(super) known: Known,
    records: bool,
    output: Output,
    damaged: u64,
}

/// Where a batch stands.
pub(super) struct Place<'a> {
    /// In which file.
    pub(super) file: &'a str,
    /// At which byte of it.
    pub(super) position: u64,
    /// What people call the partition.
    pub(super) partition: &'a str,
    /// What else there is to say: nothing, or how it came to the journal.
    pub(super) remark: &'a str,
    /// The commit that it belongs to, in a journal.
    pub(super) commit: Option<u64>,
}

impl Dump {
    /// Nothing printed yet.
    pub(super) fn new(json: bool, records: bool, known: Known) -> Dump {
        Dump { json, known, records, output: Output::new(), damaged: 0 }
    }

    /// The end: how many places are damaged.
    pub(super) fn finish(mut self) -> Outcome<u64> {
        self.output.flush()?;
        Ok(self.damaged)
    }

    /// A line for people.
    pub(super) fn line(&mut self, line: &str) -> Outcome {
        self.output.line(line)
    }

    /// A line for programs.
    pub(super) fn object(&mut self, object: &Value) -> Outcome {
        self.output.json(object)
    }

    /// The first line about a file.
    pub(super) fn head(&mut self, name: &str, bytes: u64, about: &str) -> Outcome {
        if self.json { Ok(()) } else { self.output.line(format!("{name}  {bytes} bytes{about}")) }
    }

    /// Something worth knowing that is no damage.
    pub(super) fn note(&mut self, name: &str, position: u64, what: &str) -> Outcome {
        if self.json {
            self.output.json(&json!({"file": name, "position": position, "note": what}))
        } else {
            self.output.line(format!("  at {position}: {what}"))
        }
    }

    /// Something that is damaged.
    pub(super) fn damage(&mut self, name: &str, position: u64, why: &str) -> Outcome {
        self.damaged += 1;
        if self.json {
            self.output.json(&json!({"file": name, "position": position, "damaged": why}))
        } else {
            self.output.line(format!("  at {position}: DAMAGED: {why}"))
        }
    }

    /// A batch, and its records when they are asked for.
    pub(super) fn batch(&mut self, place: &Place<'_>, bytes: &[u8]) -> Outcome {
        let header = match BatchHeader::decode(bytes) {
            Ok(header) => header,
            Err(error) => return self.damage(place.file, place.position, &error.to_string()),
        };
        if !header.crc_holds(bytes) {
            let offsets = format!("{} offsets {}..{}", place.partition, header.base_offset, header.last_offset());
            return self.damage(place.file, place.position, &format!("{offsets}: the checksum does not hold"));
        }
        if self.json {
            self.output.json(&json!({
                "file": place.file, "position": place.position, "commit": place.commit, "partition": place.partition,
                "bytes": bytes.len(), "base_offset": header.base_offset, "last_offset": header.last_offset(),
                "records": header.records_count, "leader_epoch": header.partition_leader_epoch, "codec": header.codec_name(),
                "producer_id": header.producer_id, "producer_epoch": header.producer_epoch,
                "base_sequence": header.base_sequence, "max_timestamp": header.max_timestamp,
            }))?;
        } else {
            let producer = match header.producer_id {
                ..0 => String::new(),
                id => format!("  producer {id} epoch {} sequence {}", header.producer_epoch, header.base_sequence),
            };
            self.output.line(format!(
                "  at {}: {}{}  offsets {}..{}  records {}  {} bytes  {}  epoch {}  {}{producer}",
                place.position,
                place.partition,
                place.remark,
                header.base_offset,
                header.last_offset(),
                header.records_count,
                bytes.len(),
                header.codec_name(),
                header.partition_leader_epoch,
                shown(header.max_timestamp),
            ))?;
        }
        if self.records { self.records(place, bytes) } else { Ok(()) }
    }

    fn records(&mut self, place: &Place<'_>, bytes: &[u8]) -> Outcome {
        let mut scratch = Vec::new();
        let records = match batch::records(bytes, &mut scratch) {
            Ok(records) => records,
            Err(error) => return self.damage(place.file, place.position, &error.to_string()),
        };
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(error) => return self.damage(place.file, place.position, &error.to_string()),
            };
            let mut object = ReadRecord::of(-1, &record).to_json("");
            if let Some(object) = object.as_object_mut() {
                object.shift_remove("topic");
                object.shift_remove("partition");
            }
            if self.json {
                self.output.json(&object)?;
            } else {
                self.output.line(format!("    {object}"))?;
            }
        }
        Ok(())
    }
}
