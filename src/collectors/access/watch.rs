//! The rights on the named paths as a domain: looked at when the kernel tells of a change, with all that changed at once.

use std::{collections::BTreeSet, future::pending, time::Duration};

use super::{
    told::{self, Names},
    tree::{Known, PATHS_MAX, Tree, WATCHES_MAX, is_within},
};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    host::{Host, account_names, tree_watch::TreeChange},
};

/// How often it is looked whether another thing is at a named path, which no watch tells of what is mounted there.
const INTERVAL: Duration = Duration::from_secs(60);
/// The most paths that are told one by one after a look; `chmod -R` changes thousands.
const TOLD_MAX: usize = 32;
/// Blind spots begin so; the named path follows.
const PREFIX: &str = "access to ";
const BEYOND: &str = "all of the access";

/// The look at them.
pub(super) struct AccessWatch {
    paths: Vec<String>,
    /// None until the first look, and when one has failed.
    tree: Option<Tree>,
    change: TreeChange,
    names: Names,
}

impl AccessWatch {
    pub(super) fn new(paths: Vec<String>) -> AccessWatch {
        AccessWatch { paths, tree: None, change: TreeChange::default(), names: Names::default() }
    }
}

impl Domain for AccessWatch {
    const NAME: &'static str = "access";
    type Known = Known;
    /// The paths that are named.
    type Choice = Vec<String>;

    fn choice(&self) -> Vec<String> {
        self.paths.clone()
    }

    fn split(known: Known, choice: &Vec<String>) -> (Known, Option<Known>) {
        let is_chosen = |path: &str| choice.iter().any(|root| is_within(path, root.trim_end_matches('/')));
        let (taken, left_out) = known.into_iter().partition(|(path, _)| is_chosen(path));
        (taken, Some(left_out))
    }

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        if self.paths.is_empty() {
            return Err(CollectError::Absent("collectors.access.paths names none".to_owned()));
        }
        let (paths, tree, known) = (self.paths.clone(), self.tree.take(), before.cloned());
        let mut change = std::mem::take(&mut self.change);
        let look = move |host: &Host| {
            change.is_anew |= tree.is_none();
            let mut tree = tree.map_or_else(|| Tree::new(host, &paths), Ok)?;
            tree.look(known.as_ref(), &change);
            let names = names(host, known.as_ref(), &tree.known);
            Ok((tree, names))
        };
        let (mut tree, names) = context.look("look at the access rights", look).await?;
        self.names = names;
        let known = std::mem::take(&mut tree.known);
        let blind = tree.blind();
        for (path, why) in &blind {
            context.is_blind(&format!("{PREFIX}{path}"), why).await?;
        }
        context.sees_gone(PREFIX, |path| blind.contains_key(path)).await?;
        let why = format!(
            "more than {PATHS_MAX} paths or {WATCHES_MAX} directories are below collectors.access.paths, {} are not followed; name \
             fewer",
            tree.beyond
        );
        context.note(BEYOND, (tree.beyond > 0).then_some(why)).await?;
        self.tree = Some(tree);
        Ok(Some(known))
    }

    fn first_sight(&self, _: &Known) -> Vec<Finding> {
        Vec::new()
    }

    /// Of paths that are there before and after; what comes and goes has no other rights than it had.
    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let changed = after.iter().filter_map(|(path, is)| Some((path, before.get(path)?, is)));
        let changed: Vec<_> = changed.filter(|(_, was, is)| was != is).collect();
        let told = changed.iter().take(TOLD_MAX);
        let mut findings: Vec<_> = told.flat_map(|(path, was, is)| told::diff(path, was, is, &self.names)).collect();
        let more = changed.iter().skip(TOLD_MAX).map(|(path, _, _)| path.as_str());
        let root = |path| self.tree.as_ref().map_or(path, |tree| tree.root_of(path));
        let mut rest: Vec<(&str, usize)> = Vec::new();
        for path in more.map(root) {
            match rest.iter_mut().find(|(root, _)| *root == path) {
                Some((_, count)) => *count += 1,
                None => rest.push((path, 1)),
            }
        }
        findings.extend(rest.into_iter().map(|(root, count)| told::more_below(root, count)));
        findings
    }

    fn inventory(&self, known: &Known) -> String {
        format!("access to paths: {}", known.len())
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        let Some(tree) = &mut self.tree else { return pending().await };
        let woken = tree.changed(&mut self.change).await;
        woken.map_err(|error| CollectError::failed("watch the access rights", error))
    }
}

/// The names that what has changed is told by.
fn names(host: &Host, before: Option<&Known>, after: &Known) -> Names {
    let changed = after.iter().filter_map(|(path, is)| Some((before?.get(path)?, is))).filter(|(was, is)| was != is);
    let (users, groups): (BTreeSet<u32>, BTreeSet<u32>) = told::numbers(changed.flat_map(|(was, is)| [was, is]));
    Names {
        users: account_names::names(host, account_names::PASSWD, &users),
        groups: account_names::names(host, account_names::GROUP, &groups),
    }
}

#[cfg(test)]
mod tests;
