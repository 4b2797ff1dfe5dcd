use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

use celeriac_testkit::TempDir;

use super::{inotify, polling};

/// Both kinds have the same interface, and the same rule: a bell that rings before or during sleep ends it.
macro_rules! a_bell_wakes {
    ($name:ident, $kind:ident) => {
        #[test]
        fn $name() {
            let folder = TempDir::new();
            folder.write("db-wal", "");
            let (bell, mut ear) = $kind::Ear::new(&folder.path().join("db")).unwrap();
            ear.lie_down();
            bell.ring();
            ear.sleep(false, None);
            ear.catch_up();
            ear.busy();
            let ringing = thread::spawn(move || {
                for _ in 0..100 {
                    bell.ring();
                    thread::yield_now();
                }
                bell
            });
            ear.lie_down();
            if !ringing.is_finished() {
                ear.sleep(true, Some(std::time::Duration::from_secs(1)));
            }
            ringing.join().unwrap();
        }
    };
}

a_bell_wakes!(a_bell_wakes_from_inotify, inotify);
a_bell_wakes!(a_bell_wakes_from_polling, polling);

#[test]
fn a_change_of_the_log_wakes() {
    let folder = TempDir::new();
    let log = folder.write("db-wal", "");
    let (_bell, mut ear) = inotify::Ear::new(&folder.path().join("db")).unwrap();
    OpenOptions::new().append(true).open(log).unwrap().write_all(b"frame").unwrap();
    ear.lie_down();
    ear.sleep(true, None);
}
