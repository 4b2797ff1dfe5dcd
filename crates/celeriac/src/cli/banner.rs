//! What a worker shows at its start (`celery/apps/worker.py`, `BANNER`).

use celeriac_broker::Queue;
use chrono::Local;

const ART: [&str; 12] = [
    r"   \\  | |  //  ",
    r"    \\_|_|_//   ",
    r"   .'  . .  '.  ",
    r"  /  .     .  \ ",
    r" |  .   .   .  |",
    r" |    .   .    |",
    r" |  .       .  |",
    r"  \   .   .   / ",
    r"   '.   .   .'  ",
    r"     '-. .-'    ",
    r"      / | \     ",
    r"     '  '  '    ",
];

/// The facts of a start, ready to show.
#[derive(Clone)]
pub(super) struct Banner<'a> {
    pub hostname: &'a str,
    pub app: &'a str,
    /// Without its password.
    pub transport: String,
    /// Without its password.
    pub results: String,
    pub concurrency: usize,
    /// The most and the fewest.
    pub autoscale: Option<(usize, usize)>,
    pub task_events: bool,
    pub queues: Vec<Queue>,
    /// Empty where they are not to be shown.
    pub tasks: Vec<&'a str>,
}

impl Banner<'_> {
    /// The text, with the art on its left.
    pub fn text(&self) -> String {
        let queues = self.queues.iter().enumerate().map(|(index, queue)| {
            let (dot, name) = (if index == 0 { "" } else { "\n" }, &queue.name);
            format!("{dot}.> {name:<16} exchange={name}(direct) key={name}")
        });
        let concurrency = match self.autoscale {
            Some((max, min)) => format!("{{min={min}, max={max}}}"),
            None => self.concurrency.to_string(),
        };
        let facts = format!(
            "{} v{}\n\n{} {}\n\n[config]\n.> app:         {}\n.> transport:   {}\n.> results:     {}\n\
             .> concurrency: {} (tokio)\n.> task events: {}\n\n[queues]\n{}\n",
            self.hostname,
            env!("CARGO_PKG_VERSION"),
            platform(),
            Local::now().format("%Y-%m-%d %H:%M:%S"),
            self.app,
            self.transport,
            self.results,
            concurrency,
            if self.task_events { "ON" } else { "OFF (enable -E to monitor tasks in this worker)" },
            queues.collect::<String>(),
        );
        let art = ART.iter().copied().chain(std::iter::repeat("                "));
        let lines =
            facts.lines().zip(art).map(|(fact, art)| format!("{art} {fact}").trim_end().to_owned() + "\n");
        let mut text = String::from("\n") + &lines.collect::<String>() + "\n";
        if !self.tasks.is_empty() {
            text += "[tasks]\n";
            text.extend(self.tasks.iter().map(|task| format!("  . {task}\n")));
            text.push('\n');
        }
        text
    }

    /// The same in colours: the art and the facts in cyan.
    pub fn coloured(&self) -> String {
        let text = self.text();
        let (facts, tasks) = text.split_once("[tasks]").unwrap_or((&text, ""));
        let title = if tasks.is_empty() { "" } else { "[tasks]" };
        format!("\x1b[1;36m{facts}\x1b[0m{title}{tasks}")
    }
}

fn platform() -> String {
    let name = rustix::system::uname();
    let [system, release, machine] =
        [name.sysname(), name.release(), name.machine()].map(|part| part.to_string_lossy().into_owned());
    format!("{system}-{release}-{machine}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_celerys_lines() {
        let banner = Banner {
            hostname: "w1@box",
            app: "hello",
            transport: "amqp://guest:**@localhost:5672//".to_owned(),
            results: "redis://localhost/".to_owned(),
            concurrency: 8,
            autoscale: None,
            task_events: false,
            queues: vec![Queue::new("celery"), Queue::new("hipri")],
            tasks: vec!["tasks.add", "tasks.noop"],
        };
        let scaled = Banner { autoscale: Some((10, 3)), ..banner.clone() };
        assert!(scaled.text().contains("> concurrency: {min=3, max=10} (tokio)\n"), "{}", scaled.text());
        let text = banner.text();
        let facts: Vec<_> = text.lines().map(|line| line.chars().skip(17).collect::<String>()).collect();
        assert_eq!(facts[1], format!("w1@box v{}", env!("CARGO_PKG_VERSION")));
        assert_eq!(
            facts[5..14].join("\n"),
            "[config]
.> app:         hello
.> transport:   amqp://guest:**@localhost:5672//
.> results:     redis://localhost/
.> concurrency: 8 (tokio)
.> task events: OFF (enable -E to monitor tasks in this worker)

[queues]
.> celery           exchange=celery(direct) key=celery"
        );
        assert!(text.ends_with("\n\n[tasks]\n  . tasks.add\n  . tasks.noop\n\n"), "{text}");
        assert!(banner.coloured().contains("key=hipri\n\n\x1b[0m[tasks]"), "{}", banner.coloured());
    }

    #[test]
    fn the_art_is_a_block() {
        assert!(ART.iter().all(|line| line.chars().count() == 16));
    }
}
