//! The order in which a worker's parts start and stop (`celery/bootsteps.py`).

use std::fmt::Write;
use std::sync::Arc;

use async_trait::async_trait;
use celeriac_broker::Error;

use crate::consumer::Consumer;

/// A part of the worker, between those that it requires and those that require it. All have the same contract:
///
/// - `start` is called when every earlier step runs, at first and again after each loss of the broker;
/// - `quiet` ends the taking of new work and leaves what runs alone;
/// - `stop` lets go of everything, returns when that is done, and may be called at any time, also before `start`
///   and more than once.
#[async_trait]
pub trait Step: Send {
    /// What it is called in logs and in the graph; no two steps have the same.
    fn label(&self) -> &'static str;

    /// The labels of the steps that start before it and stop after it.
    fn requires(&self) -> &'static [&'static str] {
        &[]
    }

    /// The names of the transports that it works on; all when absent.
    fn compatible_transports(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// Whether this worker has it, on a compatible transport.
    fn include(&self, _consumer: &Consumer) -> Include {
        Include::Yes
    }

    /// Begins.
    ///
    /// # Errors
    /// When the broker is lost or refuses; the steps before it are stopped, and all start again later.
    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error>;

    /// Takes no new work.
    async fn quiet(&mut self) {}

    /// Ends.
    async fn stop(&mut self);
}

/// Whether a worker has a step, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Include {
    /// It has.
    Yes,
    /// It has not, for this reason.
    No(String),
}

impl Include {
    /// It has when the condition holds, else not, for this reason.
    pub fn when(condition: bool, otherwise: &str) -> Self {
        if condition { Include::Yes } else { Include::No(otherwise.to_owned()) }
    }
}

/// Steps that cannot be put in order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two steps have the same label.
    #[error("there are two steps named {0}")]
    Twice(&'static str),
    /// A step requires one that is not there.
    #[error("the step {step} requires {required}, which does not exist")]
    Unknown {
        /// The step.
        step: &'static str,
        /// What it requires.
        required: &'static str,
    },
    /// Steps require each other.
    #[error("the step {0} requires itself, by others")]
    Cycle(&'static str),
}

/// Steps in the order in which they start.
pub(crate) struct Blueprint(Vec<Box<dyn Step>>);

impl Blueprint {
    /// Puts steps in order: each after those that it requires, otherwise as given.
    pub(crate) fn new(mut steps: Vec<Box<dyn Step>>) -> Result<Self, GraphError> {
        let labels: Vec<_> = steps.iter().map(|step| step.label()).collect();
        for (index, step) in steps.iter().enumerate() {
            if labels[..index].contains(&step.label()) {
                return Err(GraphError::Twice(step.label()));
            }
            if let Some(required) = step.requires().iter().find(|required| !labels.contains(required)) {
                return Err(GraphError::Unknown { step: step.label(), required });
            }
        }
        let mut ordered: Vec<Box<dyn Step>> = Vec::with_capacity(steps.len());
        while !steps.is_empty() {
            let placed = |label: &&str| ordered.iter().any(|step| step.label() == *label);
            let next = steps.iter().position(|step| step.requires().iter().all(placed));
            ordered.push(steps.remove(next.ok_or(GraphError::Cycle(steps[0].label()))?));
        }
        Ok(Blueprint(ordered))
    }

    /// Leaves out the steps that this worker does not have.
    pub(crate) fn include(&mut self, consumer: &Consumer) {
        let transport = consumer.transport.name();
        self.0.retain(|step| {
            let compatible = step.compatible_transports().is_none_or(|names| names.contains(&transport));
            let include = if compatible {
                step.include(consumer)
            } else {
                Include::No(format!("it does not work on {transport}"))
            };
            if let Include::No(reason) = &include {
                tracing::debug!("| Consumer: Without {}: {reason}", step.label());
            }
            include == Include::Yes
        });
    }

    /// The graph, for `dot`.
    pub(crate) fn dot(&self) -> String {
        let mut dot = "digraph bootsteps {\n  rankdir=LR;\n".to_owned();
        for step in &self.0 {
            let _ = writeln!(dot, "  \"{}\";", step.label());
            for required in step.requires() {
                let _ = writeln!(dot, "  \"{}\" -> \"{required}\";", step.label());
            }
        }
        dot + "}\n"
    }

    /// Starts all steps in order; when one cannot start, those before it are stopped again.
    pub(crate) async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error> {
        for index in 0..self.0.len() {
            let step = &mut self.0[index];
            tracing::debug!("| Consumer: Starting {}", step.label());
            if let Err(error) = step.start(consumer).await {
                self.stop().await;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the taking of new work, the last step first.
    pub(crate) async fn quiet(&mut self) {
        for step in self.0.iter_mut().rev() {
            step.quiet().await;
        }
    }

    /// Stops all steps, the last one first.
    pub(crate) async fn stop(&mut self) {
        for step in self.0.iter_mut().rev() {
            tracing::debug!("| Consumer: Stopping {}", step.label());
            step.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str, &'static [&'static str]);

    #[async_trait]
    impl Step for Named {
        fn label(&self) -> &'static str {
            self.0
        }

        fn requires(&self) -> &'static [&'static str] {
            self.1
        }

        async fn start(&mut self, _: &Arc<Consumer>) -> Result<(), Error> {
            Ok(())
        }

        async fn stop(&mut self) {}
    }

    fn ordered(steps: &[(&'static str, &'static [&'static str])]) -> Result<Vec<&'static str>, GraphError> {
        let steps = steps.iter().map(|(label, requires)| Box::new(Named(label, requires)) as Box<dyn Step>);
        Blueprint::new(steps.collect()).map(|blueprint| blueprint.0.iter().map(|step| step.label()).collect())
    }

    #[test]
    fn steps_start_after_those_they_require_and_otherwise_as_given() {
        let order = ordered(&[("d", &["c", "b"]), ("a", &[]), ("c", &["a"]), ("b", &[])]);
        assert_eq!(order, Ok(vec!["a", "c", "b", "d"]));
    }

    #[test]
    fn steps_that_make_no_order_are_refused() {
        assert_eq!(ordered(&[("a", &[]), ("a", &[])]), Err(GraphError::Twice("a")));
        assert_eq!(ordered(&[("a", &["x"])]), Err(GraphError::Unknown { step: "a", required: "x" }));
        assert_eq!(ordered(&[("a", &["b"]), ("b", &["a"])]), Err(GraphError::Cycle("a")));
    }
}
