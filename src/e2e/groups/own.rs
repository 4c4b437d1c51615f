//! `floe consume --group`, alone and beside members of another client: Ctrl-C commits and leaves, and nothing that was committed comes again.

use super::scene::*;

#[test]
fn floe_consume_shares_a_group_with_confluent_members() {
    let mut scene = Scene::new(&CONFLUENT_EAGER, 4, 6000);
    let first = scene.floe_member(&[]);
    scene.until("a record for the command", |_| first.count() > 0);
    let second = scene.member(&CONFLUENT_EAGER);
    scene.until("half for each", |scene| scene.shares().values().map(Vec::len).eq([2, 2]));
    scene.until("a record for confluent-kafka", |_| second.count() > 0);
    let third = scene.floe_member(&[]);
    scene.until("a share for each", |scene| {
        let mut shares: Vec<usize> = scene.shares().values().map(Vec::len).collect();
        shares.sort_unstable();
        shares == [1, 1, 2]
    });
    scene.until("a record for the second command", |_| third.count() > 0);
    first.interrupt();
    // It has left: its session would last 45 seconds.
    assert_eq!(scene.shares().len(), 2, "{}", scene.group());
    scene.until_all_is_processed("after a command was ended by Ctrl-C");
    second.leave();
    third.interrupt();
    assert_eq!(scene.shares().len(), 0, "{}", scene.group());
    // A number of records, and then all that there are.
    let some = scene.floe_member(&["--count", "1"]);
    scene.until("one record", |_| some.count() > 0);
    some.wait();
    let rest = scene.floe_member(&["--exit"]);
    rest.wait();
    let before = scene.processed_by(1..=scene.begun - 2, TOPIC);
    let one = scene.processed_by(scene.begun - 1..=scene.begun - 1, TOPIC);
    let rest = scene.processed_by(scene.begun..=scene.begun, TOPIC);
    assert_eq!(one.len(), 1);
    assert!(before.is_disjoint(&one) && before.is_disjoint(&rest) && one.is_disjoint(&rest), "{}", scene.told());
    scene.end();
}
