//! The assignor `range`, as a member computes it that leads a group of the classic protocol: of every topic each of its subscribers gets a run of
//! partitions, the first ones one more when they cannot be shared out evenly. The same as every other client's of that name. No I/O.

use std::collections::BTreeMap;

/// A member of a group as its leader sees it.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Subscriber {
    /// Its id.
    pub(in crate::cli) id: String,
    /// Its name as a static member.
    pub(in crate::cli) instance: Option<String>,
    /// The topics that it wants.
    pub(in crate::cli) topics: Vec<String>,
}

/// Partitions by topic, by member id. `partitions`: of each topic; topics that are not there are given to nobody.
pub(in crate::cli) fn range(
    subscribers: &[Subscriber],
    partitions: &BTreeMap<String, Vec<i32>>,
) -> BTreeMap<String, BTreeMap<String, Vec<i32>>> {
    let mut given: BTreeMap<String, BTreeMap<String, Vec<i32>>> =
        subscribers.iter().map(|subscriber| (subscriber.id.clone(), BTreeMap::new())).collect();
    // Static members by name: they keep their place when they come back with another id.
    let mut ordered: Vec<&Subscriber> = subscribers.iter().collect();
    ordered.sort_by_key(|subscriber| subscriber.instance.as_ref().unwrap_or(&subscriber.id));
    for (topic, partitions) in partitions {
        let of_topic: Vec<_> = ordered.iter().filter(|subscriber| subscriber.topics.contains(topic)).collect();
        let mut rest = partitions.as_slice();
        for (at, subscriber) in of_topic.iter().enumerate() {
            let share = rest.len().div_ceil(of_topic.len() - at);
            let (own, others) = rest.split_at(share);
            if !own.is_empty() {
                given.entry(subscriber.id.clone()).or_default().insert(topic.clone(), own.to_vec());
            }
            rest = others;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_runs_and_the_first_ones_are_longer() {
        let subscriber = |id: &str, instance: Option<&str>, topics: &[&str]| Subscriber {
            id: id.to_owned(),
            instance: instance.map(str::to_owned),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        };
        let all = [
            subscriber("b", None, &["ice", "snow"]),
            // Its name comes first.
            subscriber("z", Some("a"), &["ice"]),
            subscriber("c", None, &["ice", "gone"]),
        ];
        let partitions = BTreeMap::from([("ice".to_owned(), (0..5).collect()), ("snow".to_owned(), vec![0, 1])]);
        let given = range(&all, &partitions);
        let of = |id: &str, topic: &str| given[id].get(topic).cloned().unwrap_or_default();
        assert_eq!((of("z", "ice"), of("b", "ice"), of("c", "ice")), (vec![0, 1], vec![2, 3], vec![4]));
        assert_eq!((of("b", "snow"), of("z", "snow"), of("c", "gone")), (vec![0, 1], vec![], vec![]));
        let crowd: Vec<_> = (0..4).map(|id| subscriber(&id.to_string(), None, &["snow"])).collect();
        let given = range(&crowd, &partitions);
        assert_eq!(given.values().map(|topics| topics.len()).collect::<Vec<_>>(), [1, 1, 0, 0]);
    }
}
