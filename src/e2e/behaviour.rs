//! What clients rely on beside writing and reading: the admin requests of Java's client, and the ways of topics, logs and old clients
//! (`clients/semantics_client.py`). Both programs pass against Apache Kafka as well.

use crate::broker::Broker;
use crate::clients::{finish, java, python};

fn semantics(cores: usize) {
    let broker = Broker::start(cores);
    let said = finish(python("semantics_client.py").arg(broker.bootstrap()));
    print!("{}", said.unwrap_or_else(|said| panic!("{said}\nthe broker:\n{}", broker.log())));
}

#[test]
fn clients_find_the_ways_of_kafka_on_one_core() {
    semantics(1);
}

#[test]
fn clients_find_the_ways_of_kafka_on_four_cores() {
    semantics(4);
}

#[test]
fn javas_admin_client_gets_all_its_answers() {
    for cores in [1, 4] {
        let broker = Broker::start(cores);
        finish(java("JavaAdmin").arg(broker.bootstrap()))
            .unwrap_or_else(|said| panic!("{said}\nthe broker:\n{}", broker.log()));
    }
}
