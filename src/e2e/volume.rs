//! A million records through kcat and through the Java client, each read back and compared.

use std::path::Path;

use crate::broker::Broker;
use crate::clients::{finish, java, limited};

const COUNT: &str = "1000000";

#[test]
fn a_million_records_through_java() {
    let broker = Broker::start(4);
    let said = finish(java("JavaMillion").args([&broker.bootstrap(), "million", "6", COUNT])).unwrap();
    print!("java: {said}");
}

#[test]
fn a_million_records_through_kcat() {
    let broker = Broker::start(1);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/e2e/clients/kcat_million.sh");
    let said = finish(limited(script).args([&broker.bootstrap(), "million", COUNT])).unwrap();
    print!("kcat: {said}");
}
