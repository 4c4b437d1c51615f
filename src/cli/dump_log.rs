//! `floe dump-log`: what is in the journals and segments of a broker that is not running. Reads only; the engine's own readers decide
//! what is valid, so that this command and recovery never disagree.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use floe_wire::batch::{self, BatchHeader};
use serde_json::json;

use super::client::position::shown;
use super::client::record::ReadRecord;
use super::output::Output;
use crate::node::data_dir::DataDir;
use crate::problem::{Outcome, Problem, Tried};

/// Bytes before a batch's own length counts: base offset and length.
const PREFIX_BYTES: usize = 12;

/// A batch longer than this is damage, whatever its length field says.
const BATCH_BYTES_MAX: usize = 1 << 30;

#[derive(Debug, Args)]
pub(super) struct DumpLogArgs {
    /// The data directory of the stopped broker.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// Only files whose path contains this, such as `journal`, a topic id, or 00000000000000000000.log.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print each record, not only the batches.
    #[arg(long)]
    records: bool,
    /// Print as JSON, one finding a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: DumpLogArgs) -> Outcome {
    let data_dir = DataDir::inspect(&args.data_dir)?;
    let mut files = Vec::new();
    collect(&data_dir.path, &mut files)?;
    files.sort();
    let mut dump = Dump { output: Output::new(), json: args.json, records: args.records, damaged: 0 };
    for path in files {
        let name = path.strip_prefix(&data_dir.path).unwrap_or(&path).to_string_lossy().into_owned();
        if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        if name.starts_with("partitions/") && name.ends_with(".log") {
            dump.segment(&path, &name)?;
        }
    }
    dump.output.flush()?;
    match dump.damaged {
        0 => Ok(()),
        damaged => Err(Problem::new(format!("{damaged} damaged places were found; they are marked above"))
            .next("a torn end of the newest journal file is normal after a crash; anything else is damage on the disk: look at `dmesg`, restore from a backup")),
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    let say = || format!("cannot list {}", folder.display());
    for entry in fs::read_dir(folder).tried(say)? {
        let entry = entry.tried(say)?;
        let kind = entry.file_type().tried(say)?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// A dump under way.
struct Dump {
    output: Output,
    json: bool,
    records: bool,
    damaged: u64,
}

impl Dump {
    /// A segment: record batches back to back, as Kafka's own .log files.
    fn segment(&mut self, path: &Path, name: &str) -> Outcome {
        let say = || format!("cannot read {}", path.display());
        let file = File::open(path).tried(say)?;
        let len = file.metadata().tried(say)?.len();
        if !self.json {
            self.output.line(format!("{name}  {len} bytes"))?;
        }
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let (mut position, mut batch) = (0u64, Vec::new());
        loop {
            match next_batch(&mut reader, &mut batch, len - position).tried(say)? {
                Next::End => break,
                // Whole blocks are written; behind the last batch stands nothing but zeros.
                Next::Padding => {
                    self.note(name, position, "zeros to the end of the file")?;
                    break;
                }
                Next::Damaged(why) => {
                    self.damage(name, position, &why)?;
                    break;
                }
                Next::Batch => self.batch(name, position, &batch)?,
            }
            position += batch.len() as u64;
        }
        Ok(())
    }

    fn batch(&mut self, name: &str, position: u64, bytes: &[u8]) -> Outcome {
        let header = match BatchHeader::decode(bytes) {
            Ok(header) => header,
            Err(error) => return self.damage(name, position, &error.to_string()),
        };
        let sound = header.crc_holds(bytes);
        let last = header.base_offset + i64::from(header.last_offset_delta);
        if !sound {
            self.damaged += 1;
        }
        if self.json {
            self.output.json(&json!({
                "file": name, "position": position, "bytes": bytes.len(), "base_offset": header.base_offset, "last_offset": last,
                "records": header.records_count, "leader_epoch": header.partition_leader_epoch, "codec": header.codec_name(),
                "producer_id": header.producer_id, "producer_epoch": header.producer_epoch, "base_sequence": header.base_sequence,
                "max_timestamp": header.max_timestamp, "crc_ok": sound,
            }))?;
        } else {
            let producer = if header.producer_id < 0 {
                String::new()
            } else {
                format!(
                    "  producer {} epoch {} sequence {}",
                    header.producer_id, header.producer_epoch, header.base_sequence
                )
            };
            self.output.line(format!(
                "  at {position}: offsets {}..{last}  {} records  {} bytes  {}  epoch {}  {}{producer}  {}",
                header.base_offset,
                header.records_count,
                bytes.len(),
                header.codec_name(),
                header.partition_leader_epoch,
                shown(header.max_timestamp),
                if sound { "crc ok" } else { "CRC WRONG" },
            ))?;
        }
        if self.records && sound { self.records(name, position, bytes) } else { Ok(()) }
    }

    fn records(&mut self, name: &str, position: u64, bytes: &[u8]) -> Outcome {
        let mut scratch = Vec::new();
        let records = match batch::records(bytes, &mut scratch) {
            Ok(records) => records,
            Err(error) => return self.damage(name, position, &error.to_string()),
        };
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(error) => return self.damage(name, position, &error.to_string()),
            };
            let read = ReadRecord::of(-1, &record);
            let mut object = read.to_json("");
            if let Some(object) = object.as_object_mut() {
                object.remove("topic");
                object.remove("partition");
            }
            if self.json {
                self.output.json(&object)?;
            } else {
                self.output.line(format!("    {object}"))?;
            }
        }
        Ok(())
    }

    fn note(&mut self, name: &str, position: u64, what: &str) -> Outcome {
        if self.json {
            self.output.json(&json!({"file": name, "position": position, "note": what}))
        } else {
            self.output.line(format!("  at {position}: {what}"))
        }
    }

    fn damage(&mut self, name: &str, position: u64, why: &str) -> Outcome {
        self.damaged += 1;
        if self.json {
            self.output.json(&json!({"file": name, "position": position, "damaged": why}))
        } else {
            self.output.line(format!("  at {position}: DAMAGED: {why}"))
        }
    }
}

/// What comes next in a segment.
enum Next {
    /// Nothing.
    End,
    /// Only zeros.
    Padding,
    /// Bytes that cannot be a batch.
    Damaged(String),
    /// A batch of plausible length, in the buffer.
    Batch,
}

fn next_batch(reader: &mut impl Read, batch: &mut Vec<u8>, left: u64) -> io::Result<Next> {
    batch.clear();
    if left == 0 {
        return Ok(Next::End);
    }
    let prefix_len = (PREFIX_BYTES as u64).min(left) as usize;
    batch.resize(prefix_len, 0);
    reader.read_exact(batch)?;
    if batch.iter().all(|byte| *byte == 0) {
        return Ok(Next::Padding);
    }
    if prefix_len < PREFIX_BYTES {
        return Ok(Next::Damaged(format!("{prefix_len} bytes are left, too few for a batch")));
    }
    let length = i32::from_be_bytes([batch[8], batch[9], batch[10], batch[11]]);
    let length = usize::try_from(length).ok().filter(|length| *length <= BATCH_BYTES_MAX);
    match length {
        Some(length) if (length as u64) <= left - PREFIX_BYTES as u64 => {
            batch.resize(PREFIX_BYTES + length, 0);
            reader.read_exact(&mut batch[PREFIX_BYTES..])?;
            Ok(Next::Batch)
        }
        _ => Ok(Next::Damaged("its length goes past the end of the file".to_owned())),
    }
}
