//! How long the steps of a drill took.

use crate::event::Phase;
use serde::{Deserialize, Serialize};

/// How long a step of a drill took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseSeconds {
    /// The step, as [`Phase::name`] calls it.
    pub phase: String,
    /// How long, in seconds.
    pub seconds: f64,
}

/// The steps of a drill in their order, each once, with the time it took.
///
/// Steps that overlap, as loads and indexes of a parallel restore do, are each given the part of the time that they decided;
/// so that all of them together are no longer than the whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<PhaseSeconds>", into = "Vec<PhaseSeconds>")]
pub struct Phases(Vec<PhaseSeconds>);

impl Phases {
    /// Adds `seconds` to `phase`, which comes after those there are unless it is one of them.
    pub fn add(&mut self, phase: Phase, seconds: f64) {
        self.add_named(phase.name(), seconds);
    }

    fn add_named(&mut self, name: &str, seconds: f64) {
        // From a receipt anything may come.
        let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
        match self.0.iter_mut().find(|one| one.phase == name) {
            Some(one) => one.seconds += seconds,
            None => self.0.push(PhaseSeconds { phase: name.to_owned(), seconds }),
        }
    }

    /// Name and seconds of each, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|one| (one.phase.as_str(), one.seconds))
    }

    /// Whether none was begun.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The seconds of `phase`, if there was such a step.
    pub fn of(&self, phase: Phase) -> Option<f64> {
        self.iter().find(|(name, _)| *name == phase.name()).map(|(_, seconds)| seconds)
    }

    /// The seconds of all that a recovery needs: all but the proof.
    pub fn recovery(&self) -> f64 {
        self.iter().filter(|(name, _)| *name != Phase::Prove.name()).map(|(_, seconds)| seconds).sum()
    }

    /// Pairs of name and seconds, as the JSON for scripts has them.
    pub fn pairs(&self) -> Vec<(&str, f64)> {
        self.iter().collect()
    }
}

impl From<Vec<PhaseSeconds>> for Phases {
    fn from(all: Vec<PhaseSeconds>) -> Self {
        let mut phases = Self::default();
        for PhaseSeconds { phase, seconds } in all {
            // Older receipts call reading and checking the archive so.
            let name = if phase == Phase::Check.name() { Phase::Fetch.name() } else { &phase };
            phases.add_named(name, seconds);
        }
        phases
    }
}

impl From<Phases> for Vec<PhaseSeconds> {
    fn from(phases: Phases) -> Self {
        phases.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_there_once_however_often_it_is_told() {
        let mut phases = Phases::default();
        phases.add(Phase::Fetch, 2.0);
        phases.add(Phase::Load, 1.0);
        phases.add(Phase::Index, 4.0);
        phases.add(Phase::Load, 0.5);
        phases.add(Phase::Prove, 8.0);
        phases.add(Phase::Analyze, f64::NAN);
        let expected = [("fetch", 2.0), ("load", 1.5), ("index", 4.0), ("prove", 8.0), ("analyze", 0.0)];
        assert_eq!(phases.pairs(), expected);
        assert_eq!((phases.recovery(), phases.of(Phase::Load), phases.of(Phase::Prepare)), (7.5, Some(1.5), None));
    }

    #[test]
    fn older_receipts_say_check_for_fetch() {
        let old = r#"[{"phase":"check","seconds":1.5},{"phase":"load","seconds":2.0}]"#;
        let phases: Phases = serde_json::from_str(old).unwrap();
        assert_eq!(phases.of(Phase::Fetch), Some(1.5));
        let now = serde_json::to_string(&phases).unwrap();
        assert_eq!(now, old.replace("check", "fetch"));
    }
}
