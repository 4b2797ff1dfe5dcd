use super::super::message::MAX_COUNT;
use super::*;

const NOW: f64 = 1_800_000_000.0;
const ME: NodeId = NodeId(1);

fn set<'a>(ids: impl IntoIterator<Item = (&'a str, f64)>) -> Revoked {
    let mut revoked = Revoked::default();
    ids.into_iter().for_each(|(id, age)| assert!(revoked.add_aged(id, age, NOW)));
    revoked
}

/// `count` ids, of ages that differ.
fn many(name: &str, count: usize) -> Vec<(String, f64)> {
    (0..count).map(|index| (format!("{name}-{index}"), index as f64 / 8.0)).collect()
}

fn set_of(ids: &[(String, f64)]) -> Revoked {
    set(ids.iter().map(|(id, age)| (id.as_str(), *age)))
}

/// A worker compares with another; returns the answer and the deltas.
fn exchange(asks: &mut Revoked, answers: &mut Revoked) -> (Vec<Revokes>, Vec<Vec<(String, f64)>>) {
    let (mut exchange, question) = Exchange::begin(ME, true, asks, 7, NOW);
    let Message::Compare(compare) = through_json(&question) else { panic!("{question:?}") };
    assert_eq!((compare.node, compare.starts, compare.clock), (ME, true, 7));
    let pages: Vec<Revokes> = answer(&compare, answers, true, 9, NOW).iter().map(page).collect();
    let (last, first) = pages.split_last().unwrap();
    assert!(last.last && pages.iter().all(|page| page.strangers && page.clock == 9));
    for page in first {
        assert!(!page.last);
        assert_eq!(exchange.on_page(page, asks, NOW), None);
    }
    let deltas: Vec<_> = exchange.on_page(last, asks, NOW).unwrap().iter().map(delta).collect();
    deltas.iter().for_each(|ids| drop(merge(ids, answers, NOW)));
    (pages, deltas)
}

fn through_json(message: &Message) -> Message {
    use celeriac_protocol::codec::{self, Accept, Serializer};
    let body = codec::encode(&message.to_value(), Serializer::Json, None).unwrap();
    Message::read(&codec::decode(&body, &Accept::default()).unwrap()).unwrap()
}

fn page(message: &Message) -> Revokes {
    match through_json(message) {
        Message::Revokes(page) => page,
        other => panic!("{other:?}"),
    }
}

fn delta(message: &Message) -> Vec<(String, f64)> {
    match through_json(message) {
        Message::Delta { ids } => ids,
        other => panic!("{other:?}"),
    }
}

fn digest_of(revoked: &Revoked) -> u64 {
    digest(&buckets(revoked, NOW))
}

#[test]
fn two_sets_are_one_after_an_exchange() {
    for (ours, theirs, common) in [(0, 0, 0), (3, 0, 0), (0, 3, 0), (1, 1, 20_000), (2_500, 3_500, 1_000)] {
        let common = many("common", common);
        let [ours, theirs] = [("ours", ours), ("theirs", theirs)].map(|(name, count)| many(name, count));
        let mut asks = set_of(&[&ours[..], &common].concat());
        let mut answers = set_of(&[&theirs[..], &common].concat());
        let (pages, deltas) = exchange(&mut asks, &mut answers);
        assert_eq!(buckets(&asks, NOW), buckets(&answers, NOW));
        assert_eq!(asks.len(), ours.len() + theirs.len() + common.len());
        assert!(asks.iter().eq(answers.iter()), "with the same stamps");
        let told: Vec<_> = deltas.concat().into_iter().map(|(id, _)| id).collect();
        assert_eq!(
            told,
            ours.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(),
            "no more, the newest first"
        );
        assert!(
            pages.iter().all(|page| page.ids.len() <= PAGE) && deltas.iter().all(|ids| ids.len() <= PAGE)
        );
        assert!(pages.windows(2).all(|pair| pair[0].buckets == pair[1].buckets));
        let (pages, deltas) = exchange(&mut asks, &mut answers);
        assert!(
            deltas.is_empty() && pages.len() == 1 && pages[0].buckets.is_empty() && pages[0].ids.is_empty()
        );
    }
}

#[test]
fn only_buckets_that_differ_are_told() {
    let common = many("common", 6_400);
    let mut asks = set_of(&common);
    let mut answers = set_of(&[&common[..], &[("new".to_owned(), 1.0)]].concat());
    let (pages, _) = exchange(&mut asks, &mut answers);
    let told: usize = pages.iter().map(|page| page.ids.len()).sum();
    assert_eq!(pages[0].buckets, [bucket(hash("new"))]);
    assert!((50..150).contains(&told), "about a 64th of all: {told}");
}

#[test]
fn an_id_keeps_its_age_wherever_it_goes() {
    let mut first = set([("a", 1_000.0)]);
    let mut second = set([("b", 2_000.5)]);
    exchange(&mut second, &mut first);
    let (mut third, later) = (Revoked::default(), NOW + 500.0);
    let (mut exchange, question) = Exchange::begin(ME, false, &third, 0, later);
    let Message::Compare(compare) = question else { panic!() };
    assert!(!compare.starts);
    let pages = answer(&compare, &second, false, 0, later);
    assert_eq!(exchange.on_page(&page(&pages[0]), &mut third, later), Some(vec![]));
    assert_eq!(third.iter().collect::<Vec<_>>(), [("b", NOW - 2_000.5), ("a", NOW - 1_000.0)]);
    let young = [("a".to_owned(), 0.0)];
    assert_eq!(merge(&young, &mut third, later), [], "a known id is never stamped again");
    assert_eq!(third.stamp("a"), Some(NOW - 1_000.0));
}

#[test]
fn what_is_about_to_expire_is_told_no_more() {
    let end = Revoked::default().expires();
    let mut asks = set([("live", end - MARGIN - 1.0), ("dying", end - MARGIN + 1.0), ("dead", end - 0.5)]);
    let mut answers = set([("dying too", end - MARGIN)]);
    assert_eq!(digest_of(&answers), 0);
    assert_eq!(digest_of(&asks), digest_of(&set([("live", 5.0)])), "a digest is of ids, not of ages");
    let (pages, deltas) = exchange(&mut asks, &mut answers);
    assert!(pages[0].ids.is_empty() && asks.len() == 3);
    assert_eq!(deltas.concat(), [("live".to_owned(), end - MARGIN - 1.0)]);
    let news = [("gone".to_owned(), end), ("a".to_owned(), 3.0), ("a".to_owned(), 2.0)];
    assert_eq!(merge(&news, &mut answers, NOW), [("a".to_owned(), 3.0)]);
}

#[test]
fn deltas_are_in_pages() {
    let mut asks = set_of(&many("a", PAGE * 2 + 1));
    let (_, deltas) = exchange(&mut asks, &mut Revoked::default());
    assert_eq!(deltas.iter().map(Vec::len).collect::<Vec<_>>(), [PAGE, PAGE, 1]);
}

#[test]
fn a_clock_that_was_set_back_makes_no_age_negative() {
    let mut revoked = Revoked::default();
    revoked.add("a", NOW + 100.0);
    let (_, deltas) = exchange(&mut revoked, &mut Revoked::default());
    assert_eq!(deltas.concat(), [("a".to_owned(), 0.0)]);
}

/// They are compared between processes, of other versions too.
#[test]
fn digests_never_change() {
    let revoked = set([("3f2b1c9e-8f0e-4a53-9b1d-0d6c7f1e2a44", 1.0), ("b", 2.0)]);
    assert_eq!(hash("3f2b1c9e-8f0e-4a53-9b1d-0d6c7f1e2a44"), 0xc5f3_0cf5_50c8_661e);
    assert_eq!(hash("b"), 0x3e35_b21b_fb9b_6405);
    assert_eq!(digest_of(&revoked), hash("b").wrapping_add(hash("3f2b1c9e-8f0e-4a53-9b1d-0d6c7f1e2a44")));
    assert_eq!(digest_of(&Revoked::default()), 0);
    assert_eq!(buckets(&revoked, NOW).len(), BUCKETS);
}

#[test]
fn ids_that_are_alike_spread_over_all_buckets() {
    let ids = many("id", 6_400);
    let mut counts = [0; BUCKETS];
    ids.iter().for_each(|(id, _)| counts[bucket(hash(id))] += 1);
    assert!(counts.iter().all(|count| (50..170).contains(count)), "{counts:?}");
}

#[test]
fn a_liar_is_bounded_by_what_we_know() {
    let mut revoked = set([("a", 1.0), ("b", 1.0)]);
    let (mut exchange, _) = Exchange::begin(ME, true, &revoked, MAX_COUNT, NOW);
    let all: Vec<usize> = (0..BUCKETS).chain([BUCKETS, usize::MAX]).collect();
    for round in 0..120 {
        let ids = (0..PAGE).map(|index| (format!("{round}-{index}"), 500.0)).collect();
        let page = Revokes { buckets: all.clone(), ids, last: false, strangers: false, clock: 0 };
        assert_eq!(exchange.on_page(&page, &mut revoked, NOW), None);
        assert_eq!((exchange.untold.len(), exchange.buckets.len()), (2, BUCKETS));
    }
    assert_eq!(revoked.len(), REVOKES_MAX);
    assert!(revoked.contains("a") && revoked.contains("b"), "older ones make no room for themselves");
    let last = Revokes { buckets: all, ids: vec![("a".into(), 0.0)], last: true, strangers: false, clock: 0 };
    let deltas = exchange.on_page(&last, &mut revoked, NOW).unwrap();
    assert_eq!(deltas, [Message::Delta { ids: vec![("b".into(), 1.0)] }]);
    assert_eq!(exchange.on_page(&last, &mut revoked, NOW), Some(vec![]), "it is over");
}

#[test]
fn the_newest_are_told_of_a_set_that_is_larger_than_any_should_be() {
    let ids = many("a", REVOKES_MAX + 5);
    let mut revoked = Revoked::new(ids.len(), 1e6);
    ids.iter().for_each(|(id, age)| assert!(revoked.add_aged(id, *age, NOW)));
    let (mut exchange, _) = Exchange::begin(ME, true, &revoked, 0, NOW);
    let buckets = (0..BUCKETS).collect();
    let page = Revokes { buckets, ids: vec![], last: true, strangers: false, clock: 0 };
    let deltas = exchange.on_page(&page, &mut revoked, NOW).unwrap();
    let told: Vec<_> = deltas.iter().flat_map(delta).collect();
    assert!(told == ids[..REVOKES_MAX], "{} ids", told.len());
}
