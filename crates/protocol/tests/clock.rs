//! The logical clock.

use celeriac_protocol::LamportClock;

#[test]
fn it_is_ahead_of_all_it_has_seen() {
    let clock = LamportClock::new(5);
    assert_eq!((clock.value(), clock.forward()), (5, 6));
    assert_eq!(clock.adjust(3), 7);
    assert_eq!(clock.adjust(100), 101);
    assert_eq!((clock.value(), clock.forward()), (101, 102));
}

#[test]
fn no_peer_can_overflow_or_stop_it() {
    let clock = LamportClock::new(7);
    for hostile in [u64::MAX, u64::MAX - 1, i64::MAX as u64, (1 << 62) + 1] {
        let before = clock.value();
        assert_eq!(clock.adjust(hostile), before + 1);
    }
    assert_eq!(clock.adjust(1 << 62), (1 << 62) + 1);
    assert_eq!(clock.forward(), (1 << 62) + 2);
    assert_eq!(clock.adjust(u64::MAX), (1 << 62) + 3);
    assert!(i64::try_from(clock.value()).is_ok());
    assert_eq!(LamportClock::new(u64::MAX).forward(), (1 << 62) + 1);
}

#[test]
fn threads_never_see_a_value_twice() {
    let clock = LamportClock::default();
    let ticks = |offset: u64| {
        (0..10_000)
            .map(|n| if n % 2 == offset { clock.forward() } else { clock.adjust(n) })
            .collect::<Vec<_>>()
    };
    let mut all = std::thread::scope(|scope| {
        let threads = [scope.spawn(|| ticks(0)), scope.spawn(|| ticks(1))];
        threads.map(|thread| thread.join().unwrap()).concat()
    });
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 20_000);
    assert_eq!(all.last(), Some(&clock.value()));
}
