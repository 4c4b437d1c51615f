//! What all processes of a run saw, judged: by the rules of the history checker, and by what only copying promises.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use floe_sim::oracle::history;
use serde_json::Value;

/// Findings that a failure names.
const NAMED_MAX: usize = 10;

/// What stands in the histories.
#[derive(Default)]
struct Seen {
    /// For the history checker.
    lines: String,
    /// When a transaction's commit was asked for, by its tag.
    deciding: BTreeMap<String, u64>,
    /// Each result that was read: when, its place and its value.
    results: Vec<(u64, String, String)>,
    /// Transactions by how they ended.
    ended: BTreeMap<String, usize>,
}

/// What a run was, or what is wrong with it. `inputs`: how many were written.
pub fn judge(histories: &[PathBuf], inputs: u64) -> Result<String, String> {
    let mut seen = Seen::default();
    for path in histories {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        // The last line of a process that was killed may be cut.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        whole.lines().try_for_each(|line| seen.line(line))?;
    }
    let mut wrong = seen.unsettled_reads();
    wrong.extend(seen.other_than_once(inputs));
    let parsed = history::parse(seen.lines.as_bytes()).and_then(|history| history.check());
    let report = parsed.map_err(|malformed| format!("the history: {malformed}"))?;
    if !report.is_clean(&[]) {
        wrong.push(report.to_string());
    }
    let ended = |how: &str| seen.ended.get(how).copied().unwrap_or(0);
    if ended("fail") == 0 || ended("ok") == 0 {
        wrong.push(format!("transactions of both ends were wanted: {:?}", seen.ended));
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    let unknown = ended("invoke") - ended("ok") - ended("fail");
    Ok(format!(
        "{inputs} inputs, transactions: {} committed, {} aborted, {unknown} cut off; {report}",
        ended("ok"),
        ended("fail")
    ))
}

impl Seen {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let op: Value = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        let at = op["at"].as_u64();
        if let Some(tag) = op["deciding"].as_str() {
            self.deciding.insert(tag.to_owned(), at.ok_or_else(|| format!("no time: {line}"))?);
            return Ok(());
        }
        self.lines.push_str(line);
        self.lines.push('\n');
        if op["f"] == "txn" {
            *self.ended.entry(op["type"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let (Some(at), "poll") = (at, op["f"].as_str().unwrap_or_default()) else { return Ok(()) };
        for step in op["value"].as_array().into_iter().flatten() {
            for (key, records) in step[1].as_object().into_iter().flatten() {
                for record in records.as_array().into_iter().flatten() {
                    let value = record[1].as_str().ok_or_else(|| format!("no value: {line}"))?;
                    self.results.push((at, format!("{key} {}", record[0]), value.to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Results that were read before anybody had asked for their transaction's commit: it was open, or aborted.
    fn unsettled_reads(&self) -> Vec<String> {
        let early = self.results.iter().filter_map(|(at, place, value)| {
            let tag = value.split_once('#').map_or("", |(_, tag)| tag);
            match self.deciding.get(tag) {
                Some(asked) if asked <= at => None,
                Some(asked) => {
                    Some(format!("{value} at {place} was read {} ns before its commit was asked for", asked - at))
                }
                None => Some(format!("{value} at {place} was read, and nobody asked for its commit")),
            }
        });
        early.take(NAMED_MAX).collect()
    }

    /// Inputs without a result or with several.
    fn other_than_once(&self, inputs: u64) -> Vec<String> {
        let mut of: BTreeMap<u64, Vec<&str>> = (0..inputs).map(|input| (input, vec![])).collect();
        for (_, place, value) in &self.results {
            let input = value.split('#').next().and_then(|input| input.parse().ok()).unwrap_or(u64::MAX);
            of.entry(input).or_default().push(place);
        }
        let other = of.iter().filter(|(_, places)| places.len() != 1);
        other.map(|(input, places)| format!("input {input} has the results {places:?}")).take(NAMED_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEND: &str =
        r#"{"process":0,"type":"ok","f":"send","value":[["send","in-0",[0,"0"]],["send","in-0",[1,"1"]]]}"#;
    const COPIED: &str = r#"{"process":2,"type":"ok","f":"txn","value":[["poll",{"in-0":[[0,"0"],[1,"1"]]}],["send","out-0","0#2.1"],["send","out-0","1#2.1"]]}"#;
    const BEGUN: &str = r#"{"process":2,"type":"invoke","f":"txn","value":[]}"#;
    const ABORTED: &str = r#"{"process":3,"type":"fail","f":"txn","value":[["send","out-0","0#3.1"]]}"#;
    const DECIDING: &str = r#"{"deciding":"2.1","at":10}"#;

    fn poll(at: u64, records: &str) -> String {
        format!(r#"{{"process":1,"type":"ok","f":"poll","value":[["poll",{{"out-0":[{records}]}}]],"at":{at}}}"#)
    }

    #[test]
    fn each_broken_promise_is_found() {
        let both = r#"[0,"0#2.1"],[1,"1#2.1"]"#;
        let rows: [(&str, &str, String); 5] = [
            ("", "all is well", poll(11, both)),
            ("2.1 at out-0 0 was read 1 ns before its commit was asked for", "an open record", poll(9, both)),
            ("input 1 has the results []", "one is missing", poll(11, r#"[0,"0#2.1"]"#)),
            ("nobody asked for its commit", "an aborted record", poll(11, &format!(r#"{both},[5,"0#3.1"]"#))),
            ("duplicate: 1", "twice", poll(11, &format!(r#"{both},[5,"1#2.1"]"#))),
        ];
        for (wanted, name, polled) in rows {
            let dir = crate::broker::scratch();
            let history = dir.join("history");
            // The last line is cut.
            let lines = [SEND, BEGUN, BEGUN, DECIDING, COPIED, ABORTED, &polled, "{\"proc"].join("\n");
            fs::write(&history, lines).expect("a history");
            let judged = judge(&[history], 2);
            fs::remove_dir_all(dir).expect("it was made");
            match judged {
                Ok(said) => assert!(wanted.is_empty(), "{name}: {said}"),
                Err(wrong) => assert!(!wanted.is_empty() && wrong.contains(wanted), "{name}: {wrong}"),
            }
        }
    }
}
