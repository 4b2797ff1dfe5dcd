use celeriac_cluster::watch::Action;

/// What one worker was told of another process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    pub is_there: bool,
    /// Another process of its name was told to have joined while it was there.
    pub replaced: bool,
    pub joined: u8,
    pub left: u8,
    pub lost: u8,
}

/// What one worker was told of all others, by their place in the list of processes.
#[derive(Debug, Default)]
pub struct Told(Vec<Tally>);

/// A word to the handlers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Word {
    Joined,
    Left,
    Lost,
}

impl Word {
    pub fn of(action: &Action) -> Option<Word> {
        match action {
            Action::Joined(_) => Some(Word::Joined),
            Action::Left(_) => Some(Word::Left),
            Action::Lost(_) => Some(Word::Lost),
            _ => None,
        }
    }
}

impl Told {
    pub fn of(&self, process: usize) -> Tally {
        self.0.get(process).copied().unwrap_or_default()
    }

    /// Another process of its name takes its place.
    pub fn replace(&mut self, process: usize) {
        let tally = self.tally(process);
        tally.replaced |= tally.is_there;
        tally.is_there = false;
    }

    /// Notes a word; whether it fits what was told before.
    pub fn note(&mut self, process: usize, word: Word) -> bool {
        let tally = self.tally(process);
        let fits = tally.is_there == (word != Word::Joined);
        tally.is_there = word == Word::Joined;
        let count = match word {
            Word::Joined => &mut tally.joined,
            Word::Left => &mut tally.left,
            Word::Lost => &mut tally.lost,
        };
        *count = count.saturating_add(1);
        fits
    }

    /// Those that are there, as far as was told.
    pub fn present(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().filter(|(_, tally)| tally.is_there).map(|(process, _)| process)
    }

    /// How many words there were.
    pub fn words(&self) -> usize {
        self.0.iter().map(|tally| usize::from(tally.joined + tally.left + tally.lost)).sum()
    }

    fn tally(&mut self, process: usize) -> &mut Tally {
        if self.0.len() <= process {
            self.0.resize(process + 1, Tally::default());
        }
        &mut self.0[process]
    }
}
