//! The moments at which rules begin or end by the clock, so that whoever judged once knows when to judge again, and
//! nobody has to look again and again.

use super::app::Installation;
use super::condition::Condition;

/// When the rules of one document change. It may name a moment at which nothing changes for a caller, never miss one.
#[derive(Debug, Default)]
pub struct Moments {
    /// Unix times in milliseconds: every `from` and `until`. Sorted.
    fixed: Box<[i64]>,
    /// Milliseconds after an installation: every `after_install`. Sorted.
    after_install: Box<[i64]>,
}

impl Moments {
    pub fn of(conditions: &[Condition]) -> Self {
        let mut fixed: Vec<i64> = conditions.iter().flat_map(|one| [one.from_ms, one.until_ms]).flatten().collect();
        let mut after_install: Vec<i64> = conditions.iter().filter_map(|one| one.after_install_ms).collect();
        for moments in [&mut fixed, &mut after_install] {
            moments.sort_unstable();
            moments.dedup();
        }
        Self { fixed: fixed.into(), after_install: after_install.into() }
    }

    /// The first after `now_ms`. `installation`: the caller's, if one is known. `gives_ms`: the time by which its windows
    /// open for what gives.
    pub fn next_ms(&self, now_ms: i64, gives_ms: i64, installation: Option<&Installation>) -> Option<i64> {
        let fixed = first_after(&self.fixed, now_ms);
        // Where it counts from changes only when a window opens, and that is a moment of the installation's own.
        let starts = installation.into_iter().flat_map(|one| [one.counted_from(now_ms), one.counted_from(gives_ms)]);
        let spans = starts.flatten().filter_map(|start| {
            let span = first_after(&self.after_install, now_ms.saturating_sub(start))?;
            Some(start.saturating_add(span))
        });
        fixed.into_iter().chain(spans).min()
    }
}

fn first_after(sorted: &[i64], now: i64) -> Option<i64> {
    sorted.get(sorted.partition_point(|one| *one <= now)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::policy::condition::Actors;
    use crate::authz::policy::limit::Limits;

    fn condition(from_ms: Option<i64>, until_ms: Option<i64>, after_install_ms: Option<i64>) -> Condition {
        Condition {
            actors: Actors::ALL,
            users: None,
            pipelines: None,
            tenants: None,
            from_ms,
            until_ms,
            after_install_ms,
            unless_install_window: false,
            limits: Limits::none(),
        }
    }

    fn installation(installed_at_ms: Option<i64>, windows: &[(i64, i64)]) -> Installation {
        Installation {
            tenant: "acme".into(),
            tenant_name: None,
            installed_at_ms,
            install_window_ms: 10,
            windows: windows.into(),
            observe_until_ms: None,
            suspended: None,
            file: std::sync::Arc::from(std::path::Path::new("a.yaml")),
            line: 1,
        }
    }

    #[test]
    fn the_next_moment_is_the_first_that_lies_ahead() {
        let moments = Moments::of(&[condition(Some(100), Some(200), None), condition(None, Some(150), Some(40))]);
        let installed = installation(Some(120), &[]);
        let next = |now| moments.next_ms(now, now, Some(&installed));
        assert_eq!(
            [next(0), next(100), next(150), next(160), next(199)].map(Option::unwrap),
            [100, 150, 160, 200, 200]
        );
        assert_eq!(next(200), None);
        assert_eq!(moments.next_ms(150, 150, None), Some(200), "nobody knows when it was installed");
    }

    #[test]
    fn a_span_counts_from_the_last_window_that_opened() {
        let moments = Moments::of(&[condition(None, None, Some(40))]);
        let installed = installation(Some(0), &[(100, 105), (200, 205)]);
        let next = |now| moments.next_ms(now, now, Some(&installed));
        assert_eq!((next(0), next(40), next(100), next(141), next(200)), (Some(40), None, Some(140), None, Some(240)));
    }

    #[test]
    fn a_window_that_has_not_opened_for_what_gives_leaves_its_spans_where_they_were() {
        let moments = Moments::of(&[condition(None, None, Some(40))]);
        let installed = installation(Some(0), &[(30, 60)]);
        assert_eq!(moments.next_ms(35, 35, Some(&installed)), Some(70));
        assert_eq!(moments.next_ms(35, 20, Some(&installed)), Some(40), "a grant ends by the earlier start");
        assert_eq!(moments.next_ms(45, 20, Some(&installed)), Some(70));
    }
}
