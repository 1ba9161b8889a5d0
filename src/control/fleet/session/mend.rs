//! Files of this gate's copy that do not say what holds: somebody deleted, emptied or changed one, or brought one back. What is in
//! force does not hang on them; the next start does.

use super::Session;
use crate::acts::ActId;
use crate::control::fleet::known::Step;

impl Session<'_> {
    /// Puts the copy right, as far as this session knows all that lies in the bucket. Messages go first.
    pub(super) fn mend(&mut self) {
        let rests = self.disk_after.is_some_and(|after| std::time::Instant::now() < after);
        if !self.whole || self.batch.is_some() || !self.queue.is_empty() || rests {
            return;
        }
        let steps = self.mends();
        if steps.is_empty() {
            self.task.trouble = None;
            return;
        }
        self.begin_batch(Vec::new(), steps);
    }

    fn mends(&self) -> Vec<Step> {
        let watch = self.around.force.watch();
        let force = watch.borrow();
        let amiss = force.amiss.iter().filter_map(|id| self.task.known.act(id)).map(Step::Same);
        let is_back = |id: &&ActId| self.task.known.act(id).is_none() && self.is_taken_back(id);
        let back = force.amiss.iter().chain(force.acts.keys()).filter(is_back).cloned().map(Step::Remove);
        amiss.chain(back).collect()
    }

    /// The last word about it is a marker.
    fn is_taken_back(&self, id: &ActId) -> bool {
        self.words.get(id).is_some_and(|word| word.text.is_none())
    }
}
