//! Carrying out what is decided, and hearing what the children say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::dispatch::{Action, Ended, Id, Token};
use super::undone::Undone;
use super::{Member, Pool, State, settle};
use crate::host::{self, Answer, Child, Event, Events, Message, Signal};

/// Time between two looks whether the last child has ended.
const AGAIN: Duration = Duration::from_millis(5);

impl Pool {
    /// Does what is to be done now.
    pub(super) fn turn(self: &Arc<Self>) {
        let mut state = self.state();
        loop {
            let actions = state.dispatch.turn(Instant::now());
            if actions.is_empty() {
                break;
            }
            for action in actions {
                self.perform(&mut state, action);
            }
        }
        let stock = if self.settings.stocks { state.dispatch.stock() } else { 0 };
        self.stock.send_if_modified(|told| std::mem::replace(told, stock) != stock);
        let next = state.dispatch.next(Instant::now());
        if next.is_some() && state.armed.is_none_or(|armed| next < Some(armed)) {
            self.sooner.notify_one();
        }
    }

    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state();
                state.armed = state.dispatch.next(Instant::now());
                if state.closed && state.children.is_empty() {
                    return;
                }
                state.armed
            };
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.sooner.notified() => {}
            }
            self.turn();
        }
    }

    pub(super) fn restart(self: &Arc<Self>) {
        let mut state = self.state();
        for action in state.dispatch.restart() {
            self.perform(&mut state, action);
        }
        drop(state);
        self.turn();
    }

    fn perform(self: &Arc<Self>, state: &mut State, action: Action) {
        match action {
            Action::Fork(id, index) => {
                let pool = self.clone();
                tokio::spawn(async move {
                    match pool.home.fork(index).await {
                        Ok(child) => pool.born(id, Arc::new(child)),
                        Err(error) => {
                            tracing::error!("A child cannot be started: {error}");
                            pool.state().dispatch.ended(id, &[], 0, Instant::now());
                            pool.turn();
                        }
                    }
                });
            }
            Action::Send(id, tokens) => self.send(state, id, tokens),
            Action::TakeBack(id) => state.take_back(id),
            Action::Look(id, token, bound) => self.look(state, id, token, bound),
            Action::Exit(id) => state.exit(id),
            Action::Kill(id) => {
                if let Some(member) = state.children.get(&id) {
                    let _ = member.child.kill(); // it may have ended by itself
                }
            }
        }
    }

    fn born(self: &Arc<Self>, id: Id, child: Arc<Child>) {
        let mut state = self.state();
        let (exit, exited) = oneshot::channel();
        let status = state.exits.remove(&child.pid());
        let mut member = Member::new(child.clone(), exit);
        if let Some(status) = status {
            let _ = member.exit.take().map(|exit| exit.send(status));
        }
        state.children.insert(id, member);
        if state.dispatch.is_leaving(id) {
            state.exit(id);
        }
        drop(state);
        tokio::spawn(self.clone().hear(id, child, exited));
    }

    /// Hears a child until it has ended, and said its last.
    async fn hear(self: Arc<Self>, id: Id, child: Arc<Child>, mut exited: oneshot::Receiver<i32>) {
        let status = loop {
            tokio::select! {
                biased;
                message = child.recv() => match message {
                    Ok(message) => self.heard(id, message),
                    Err(error) => {
                        // It has been tampered with: what it says and takes cannot be trusted any more.
                        tracing::error!("Child pid:{} is killed: {error}", child.pid());
                        let _ = child.kill();
                        break exited.await;
                    }
                },
                status = &mut exited => break status,
            }
        };
        while let Ok(Some(message)) = child.try_recv() {
            self.heard(id, message);
        }
        self.ended(id, &child, status.unwrap_or(-Signal::KILL.as_raw()));
    }

    fn heard(self: &Arc<Self>, id: Id, message: Message) {
        let mut state = self.state();
        match message {
            Message::Up => state.dispatch.up(id),
            Message::Done(answers) => {
                answers.into_iter().for_each(|answer| self.answered(&mut state, id, answer))
            }
            Message::Bye(_) => {
                state.dispatch.leaves(id);
                state.take_back(id);
            }
            Message::Began { token, since } => {
                if let Some(member) = state.children.get_mut(&id) {
                    member.began(token, since);
                }
            }
            Message::Left(tokens) => state.dispatch.taken_back(id, &tokens),
        }
        drop(state);
        self.turn();
    }

    fn answered(self: &Arc<Self>, state: &mut State, id: Id, answer: Answer) {
        let run = Duration::try_from_secs_f64(answer.runtime).unwrap_or_default();
        let token = answer.token;
        if let Some(member) = state.children.get_mut(&id) {
            member.answered(token);
        }
        if !state.dispatch.answered(id, token, Some(run), Instant::now()) {
            return;
        }
        // One that was ended by us has been settled.
        let Some(mut held) = state.held.remove(&token) else { return };
        if let (host::State::Ignore, Some(signal)) = (answer.state, held.terminated) {
            self.parts.counters.revoked.count();
            return self.settle_undone(held, Undone::Terminated(signal));
        }
        match Undone::of(&answer) {
            Some(undone) => self.settle_undone(held, undone),
            None => settle::answered(&self.parts, &mut held.request, answer),
        }
    }

    fn ended(self: &Arc<Self>, id: Id, child: &Child, status: i32) {
        let mut state = self.state();
        state.take_back(id);
        let member = state.children.remove(&id);
        // At the worker's end they are killed who had not come up yet.
        let is_news = !state.closed && member.as_ref().is_none_or(|member| !member.terminated);
        state.gone += member.as_ref().map_or(0, |member| member.sent);
        let running = member.map(|member| member.running()).unwrap_or_default();
        let running: Vec<_> = running.into_iter().map(|running| running.token).collect();
        let begun = child.begun().unwrap_or_default();
        let Ended { lost, unheard } = state.dispatch.ended(id, &running, begun, Instant::now());
        if let Some(status) = settle::unexpected(status).filter(|_| is_news) {
            let name = self.settings.kind.process(id);
            tracing::error!("Process '{name}' pid:{} exited with '{status}'", child.pid());
        }
        for token in lost {
            let Some(held) = state.held.remove(&token) else { continue };
            self.settle_undone(held, Undone::Lost(settle::worker_lost(status, token)));
        }
        for token in unheard {
            let Some(held) = state.held.remove(&token) else { continue };
            // It has ended, or was about to begin: nobody knows.
            tracing::warn!(
                "{} has run, as far as one can tell: its child has died",
                held.request.facts.label()
            );
            if held.request.facts.policy.acks_late {
                state.submit(held);
            }
        }
        drop(state);
        // With the last child of a pool that has ended, the clock ends.
        self.sooner.notify_one();
        self.turn();
    }

    /// Watches the children, and the zygote, which is started again when it dies.
    pub(super) async fn watch(self: Arc<Self>, mut events: Events) {
        while let Some(event) = events.next().await {
            match event {
                Event::Exited { pid, status } => self.exited(pid, status),
                Event::Gone { status } => {
                    if self.bereave() {
                        return;
                    }
                    tracing::error!(
                        "The process that has imported the app exited with {status}: it is started again"
                    );
                    events = self.home.revive().await;
                    self.state().dispatch.can_start(true, Instant::now());
                    self.turn();
                }
            }
        }
    }

    /// All children have died with the zygote; whether no other one is wanted.
    fn bereave(&self) -> bool {
        let mut state = self.state();
        for member in state.children.values_mut() {
            let _ = member.exit.take().map(|exit| exit.send(-Signal::KILL.as_raw()));
        }
        state.exits.clear();
        state.dispatch.can_start(false, Instant::now());
        state.closed
    }

    fn exited(&self, pid: i32, status: i32) {
        let mut state = self.state();
        let member = state.children.values_mut().find(|member| member.child.pid() == pid);
        match member.and_then(|member| member.exit.take()) {
            Some(exit) => {
                let _ = exit.send(status); // nobody waits for one that is given up
            }
            // It ended before we were told that it is there.
            None => {
                state.exits.insert(pid, status);
            }
        }
    }

    /// Waits until there are no children.
    pub(super) async fn childless(self: &Arc<Self>) {
        while !self.state().children.is_empty() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl State {
    /// Takes back what a child has not taken, for others, and has it send what it has ended.
    pub(super) fn take_back(&mut self, id: Id) {
        let Some(member) = self.children.get(&id) else { return };
        match member.child.take_back() {
            Ok(tokens) => self.dispatch.taken_back(id, &tokens),
            Err(error) => {
                tracing::error!("Jobs of child pid:{} are not taken back: {error}", member.child.pid())
            }
        }
        let _ = member.child.flush(); // it may have ended
    }

    fn exit(&mut self, id: Id) {
        // So that there is room for the word.
        self.take_back(id);
        if let Some(member) = self.children.get(&id)
            && let Err(error) = member.child.exit()
        {
            tracing::debug!("child pid:{} cannot be told to end: {error}", member.child.pid());
            let _ = member.child.kill();
        }
    }

    /// Has a child end together with this job, which it runs; what it has not taken others run.
    pub(super) fn end_child(&mut self, id: Id, token: Token) {
        self.take_back(id);
        if let Some(member) = self.children.get(&id) {
            let _ = member.child.signal(Signal::TERM, token); // it may have ended by itself
        }
        self.dispatch.condemn(id, Instant::now());
    }
}
