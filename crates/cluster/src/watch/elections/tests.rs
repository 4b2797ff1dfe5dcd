//! In virtual time: one worker's elections by hand, those with strangers, and whole ones over a virtual broker.

mod broker;
mod peers;
mod strangers;
mod whole;

use super::*;

const ID: &str = "x";

/// A worker `w<number>.<number>` that gossips by watch.
struct Member {
    elections: Elections,
    clock: LamportClock,
    hostname: Arc<str>,
    number: u32,
    leads: bool,
    led: bool,
    /// How many listen to the cluster's exchange: `w1` and so on.
    listeners: u32,
    strangers: bool,
}

impl Member {
    fn new(number: u32, clock: u64) -> Self {
        let hostname = format!("w{number}").into();
        let (elections, clock) = (Elections::new(), LamportClock::new(clock));
        Member { elections, clock, hostname, number, leads: false, led: true, listeners: 3, strangers: false }
    }

    /// The lead, among two others, and perhaps strangers.
    fn lead(strangers: bool) -> Self {
        Member { leads: true, strangers, ..Member::new(1, 0) }
    }

    fn act<T>(
        &mut self,
        now: f64,
        act: impl FnOnce(&mut Elections, &Scene<'_>, &mut Vec<Action>) -> T,
    ) -> Vec<Action> {
        let listeners = self.listeners;
        let members = move || {
            (1..=listeners).map(|number| (format!("w{number}").into(), Some(i64::from(number)))).collect()
        };
        let scene = Scene {
            node: NodeId(u64::from(self.number)),
            hostname: &self.hostname,
            pid: self.number,
            clock: &self.clock,
            leads: self.leads,
            led: self.led,
            members: &members,
            strangers: self.strangers,
            now,
        };
        let mut actions = Vec::new();
        act(&mut self.elections, &scene, &mut actions);
        actions
    }

    fn stand(&mut self, now: f64) -> Vec<Action> {
        self.stand_in(ID, now)
    }

    fn stand_in(&mut self, id: &str, now: f64) -> Vec<Action> {
        let (id, topic) = (id.to_owned(), "task".to_owned());
        self.act(now, |elections, scene, actions| elections.stand(scene, id, topic, "act".into(), actions))
    }

    fn hear(&mut self, message: &Message, now: f64) -> Vec<Action> {
        self.act(now, |elections, scene, actions| match message {
            Message::Stand(stand) => elections.on_stand(scene, stand, actions),
            Message::Elected(elected) => elections.on_elected(scene, elected, actions),
            other => panic!("{other:?}"),
        })
    }

    fn hear_candidate(&mut self, event: &Event, now: f64) -> Vec<Action> {
        self.act(now, |elections, scene, actions| {
            let result = elections.on_candidate(scene, event, actions);
            actions.extend(result.err().map(Action::Ignored));
        })
    }

    fn on_lead(&mut self, now: f64) -> Vec<Action> {
        self.act(now, |elections, scene, actions| elections.on_lead(scene, actions))
    }

    /// Ticks whenever that is due, until and at a time, and says when something happened.
    fn run(&mut self, until: f64) -> Vec<(f64, Action)> {
        let mut all = Vec::new();
        for _ in 0..10_000 {
            let Some(now) = self.elections.next_timeout().filter(|now| *now <= until) else { return all };
            let actions = self.act(now, |elections, scene, actions| elections.tick(scene, actions));
            all.extend(actions.into_iter().map(|action| (now, action)));
        }
        panic!("ticks for ever");
    }

    fn told(&mut self, until: f64) -> Vec<String> {
        self.run(until)
            .into_iter()
            .map(|(now, action)| format!("{now} {}", told(&[action]).remove(0)))
            .collect()
    }
}

fn stand(number: u32, clock: u64) -> Stand {
    let (id, topic, name) = (ID.to_owned(), "task".to_owned(), format!("w{number}.{number}"));
    Stand { node: NodeId(u64::from(number)), id, topic, clock, name, again: false }
}

fn elected(number: u32, clock: u64) -> Message {
    let leader = format!("w{number}.{number}");
    Message::Elected(Elected { node: NodeId(9), id: ID.to_owned(), leader, clock })
}

fn told(actions: &[Action]) -> Vec<String> {
    let one = |action: &Action| match action {
        Action::Send { key, message, mandatory: false } => match &**message {
            Message::Stand(stand) => {
                assert_eq!(*key, Key::Lead);
                format!("stand {} {}{}", stand.name, stand.clock, if stand.again { " again" } else { "" })
            }
            Message::Elected(elected) => format!("{key} {}", elected.leader),
            other => panic!("{other:?}"),
        },
        Action::Publish { hostname, clock, kind, .. } => match clock {
            Some(clock) => format!("{kind} {hostname} {}", if *clock == CANNOT_WIN { "decoy" } else { "?" }),
            None => format!("{kind} {hostname}"),
        },
        Action::Elected { leader, run, .. } => {
            format!("elected {leader}{}", if run.is_some() { " runs" } else { "" })
        }
        Action::Expired(id) => format!("expired {id}"),
        Action::Ignored(error) => format!("ignored: {error}"),
        other => panic!("{other:?}"),
    };
    actions.iter().map(one).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn the_first_by_clock_then_by_name_wins_half_a_second_after_the_last_new_candidate() {
    for (clocks, winner) in [([5, 4, 6], "w3.3"), ([5, 5, 6], "w2.2"), ([7, 7, 6], "w4.4")] {
        let mut lead = Member::lead(false);
        for (number, clock) in (2..).zip(clocks) {
            let now = f64::from(number) / 10.0;
            assert_eq!(told(&lead.hear(&Message::Stand(stand(number, clock)), now)), NOTHING);
        }
        lead.hear(&Message::Stand(stand(2, clocks[0])), 0.8);
        assert_eq!(lead.told(50.0), [format!("0.9 all.change {winner}")], "told again is not new");
    }
}

#[test]
fn a_candidate_that_comes_while_others_do_puts_a_decision_off_for_ten_seconds_at_most() {
    let mut lead = Member::lead(false);
    let mut said = Vec::new();
    for number in 2..100 {
        let now = f64::from(number) / 4.0;
        said.extend(lead.run(now));
        lead.hear(&Message::Stand(stand(number, 9)), now);
    }
    assert_eq!(said.first().map(|(now, _)| *now), Some(10.5));
}

#[test]
fn a_candidate_tells_the_lead_until_there_is_an_outcome() {
    let mut member = Member::new(2, 6);
    assert_eq!(told(&member.stand(0.0)), ["stand w2.2 7"]);
    assert_eq!(told(&member.stand(0.0)), NOTHING, "we stand already");
    assert_eq!(member.told(3.0), ["2 stand w2.2 7"]);
    assert_eq!(told(&member.on_lead(3.0)), ["stand w2.2 7"], "by the same clock");
    assert_eq!(member.told(5.0), ["5 stand w2.2 7"]);
    member.led = false;
    assert_eq!(told(&member.on_lead(5.5)), NOTHING, "nobody would hear it");
    assert_eq!(member.told(100.0), ["60 expired x"]);
    assert_eq!(member.elections.next_timeout(), None);
}

#[test]
fn the_winner_runs_the_action_once() {
    for (winner, outcome) in [(2, "elected w2.2 runs"), (3, "elected w3.3")] {
        let mut member = Member::new(2, 0);
        member.stand(0.0);
        assert_eq!(told(&member.hear(&elected(winner, 8), 0.5)), [outcome]);
        assert_eq!(told(&member.hear(&elected(winner, 8), 0.6)), NOTHING);
        assert_eq!(told(&member.hear(&elected(2, 9), 0.7)), NOTHING);
        assert_eq!(told(&member.on_lead(1.0)), NOTHING);
        assert_eq!(member.told(59.0), NOTHING);
    }
    let mut member = Member::new(2, 0);
    member.stand(0.0);
    let actions = member.hear(&elected(2, 8), 0.5);
    let run = Some(("task".to_owned(), "act".into()));
    assert_eq!(actions, [Action::Elected { id: ID.to_owned(), leader: "w2.2".to_owned(), run }]);
}

#[test]
fn who_is_no_candidate_only_remembers_who_won() {
    let mut member = Member::new(2, 0);
    assert_eq!(told(&member.hear(&elected(2, 8), 0.0)), NOTHING, "not even when that is us");
    assert_eq!(told(&member.stand(59.0)), ["elected w2.2"]);
    assert_eq!(member.told(60.0), NOTHING);
    assert_eq!(
        told(&member.stand(60.0)),
        ["stand w2.2 10"],
        "forgotten, and its clock is past the announcement"
    );
}

#[test]
fn the_lead_decides_about_itself_as_about_others_and_ignores_its_own_words() {
    let mut lead = Member::lead(false);
    assert_eq!(told(&lead.stand(0.0)), NOTHING);
    lead.hear(&Message::Stand(stand(2, 7)), 0.0);
    let said = lead.run(1.0);
    let actions: Vec<_> = said.into_iter().map(|(_, action)| action).collect();
    assert_eq!(told(&actions), ["all.change w1.1", "elected w1.1 runs"]);
    let Some(Action::Send { message, .. }) = actions.first() else { panic!() };
    assert_eq!(told(&lead.hear(message, 1.0)), NOTHING);
    assert_eq!(lead.elections.next_timeout(), Some(60.5));
}

#[test]
fn who_stands_after_the_decision_is_told_the_winner_and_so_it_is_by_a_new_lead() {
    let mut lead = Member::lead(false);
    lead.hear(&Message::Stand(stand(2, 7)), 0.0);
    lead.run(1.0);
    let mut heard = Member { leads: true, ..Member::new(4, 0) };
    heard.leads = false;
    heard.hear(&elected(2, 9), 0.5);
    heard.leads = true;
    heard.on_lead(0.6);
    for lead in [&mut lead, &mut heard] {
        let said = told(&lead.hear(&Message::Stand(stand(3, 1)), 20.0));
        assert_eq!(said, ["node.0000000000000003 w2.2"]);
        assert_eq!(lead.told(59.0), NOTHING);
    }
}

#[test]
fn an_id_is_used_again_by_who_stood_already() {
    let mut lead = Member::lead(false);
    let mut member = Member::new(2, 0);
    let mut clocks = Vec::new();
    for round in 0..3 {
        let now = f64::from(round);
        let actions = member.stand(now);
        let [Action::Send { message, .. }] = &actions[..] else { panic!("{actions:?}") };
        let Message::Stand(stand) = &**message else { panic!() };
        assert_eq!(stand.again, round > 0);
        clocks.push(stand.clock);
        assert_eq!(told(&lead.hear(message, now)), NOTHING);
        let decided = lead.run(now + 0.9);
        let [(_, Action::Send { message: announced, .. })] = &decided[..] else { panic!("{decided:?}") };
        let said = told(&lead.hear(message, now + 0.9));
        assert_eq!(said, ["node.0000000000000002 w2.2"], "what comes late is of the last one");
        assert_eq!(told(&member.hear(announced, now + 0.9)), ["elected w2.2 runs"]);
    }
    assert!(clocks.is_sorted());
}

#[test]
fn the_last_announcement_does_not_end_the_next_candidacy() {
    let mut member = Member::new(2, 0);
    member.stand(0.0);
    member.hear(&elected(2, 8), 0.5);
    assert_eq!(told(&member.stand(0.6)), ["stand w2.2 10 again"]);
    assert_eq!(told(&member.hear(&elected(2, 8), 0.7)), NOTHING);
    assert_eq!(told(&member.hear(&elected(3, 11), 0.8)), ["elected w3.3"]);

    let mut member = Member::new(4, 0);
    member.hear(&elected(3, 11), 0.0);
    member.hear(&elected(2, 8), 0.1);
    assert_eq!(told(&member.stand(0.2)), ["elected w3.3"], "nor does it all.change what came after it");
}

#[test]
fn who_leads_no_more_decides_nothing_and_who_leads_anew_waits_for_all() {
    let mut lead = Member::lead(false);
    lead.stand(0.0);
    lead.hear(&Message::Stand(stand(2, 0)), 0.0);
    lead.leads = false;
    assert_eq!(told(&lead.on_lead(0.1)), ["stand w1.1 1"]);
    assert_eq!(lead.told(1.0), NOTHING);
    lead.leads = true;
    assert_eq!(told(&lead.on_lead(1.0)), NOTHING);
    assert_eq!(lead.told(1.4), NOTHING);
    assert_eq!(
        lead.told(1.5),
        ["1.5 all.change w1.1", "1.5 elected w1.1 runs"],
        "the other has not told us again"
    );

    let mut lead = Member::lead(false);
    lead.hear(&Message::Stand(stand(2, 0)), 0.0);
    lead.leads = false;
    assert_eq!(lead.told(70.0), NOTHING, "also when nobody tells us");
    assert_eq!(lead.elections.next_timeout(), None);
}

#[test]
fn a_stand_to_who_does_not_lead_or_by_a_clock_past_all_does_not_count() {
    let mut member = Member::new(2, 0);
    member.hear(&Message::Stand(stand(3, 1)), 0.0);
    let mut lead = Member::lead(false);
    lead.hear(&Message::Stand(stand(3, (1 << 62) + 1)), 0.0);
    lead.hear(&Message::Stand(Stand { id: "x".repeat(1025), ..stand(3, 1) }), 0.0);
    for member in [member, lead] {
        assert!(member.elections.rounds.is_empty());
        assert_eq!(member.clock.value(), 0);
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let mut lead = Member::lead(false);
    lead.stand_in("mine", 0.0);
    for number in 0..3_000 {
        let id = number.to_string();
        lead.hear(&Message::Stand(Stand { id: id.clone(), ..stand(2, 1) }), 0.1);
        lead.hear(&Message::Elected(Elected { node: NodeId(9), id, leader: String::new(), clock: 5 }), 0.1);
    }
    assert_eq!(lead.elections.rounds.len(), 1_000);
    for number in 0..30_000 {
        let id = (number / 6_000).to_string();
        lead.hear(&Message::Stand(Stand { id, ..stand(number, 1) }), 0.2);
    }
    let names: usize = lead.elections.rounds.values().flat_map(|round| &round.poll).map(Poll::names).sum();
    assert!((14_000..=20_000).contains(&names), "{names}");
    assert!(lead.elections.rounds.contains_key("mine"), "ours go last");

    let mut member = Member::new(2, 0);
    assert_eq!(
        told(&member.stand_in(&"x".repeat(1025), 0.0)),
        ["ignored: the id of an election has 1025 bytes, more than 1024"]
    );
    let said: Vec<_> = (0..200).flat_map(|number| told(&member.stand_in(&number.to_string(), 0.0))).collect();
    let ignored = said.iter().filter(|said| *said == "ignored: too many elections are not decided").count();
    assert_eq!((ignored, said.len()), (100, 200));
}
