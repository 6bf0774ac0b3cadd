//! Who may call: root, the agent's own user, and members of the socket's group. The kernel's word on the peer is the
//! only evidence, and what is not known is refused.

use std::{
    collections::HashMap,
    ffi::CString,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nix::unistd::{Gid, Uid, User, getgrouplist};
use tonic::{Extensions, Request, Status, transport::server::UdsConnectInfo};

use super::usage::Usage;
use crate::{lock::lock, pipeline::Origin};

/// How long an answer of the account database is believed.
const MEMBERSHIP_AGE_MAX: Duration = Duration::from_secs(10);

/// Users whose membership is remembered; when there are more, all are asked for anew.
const MEMBERSHIPS_MAX: usize = 256;

#[derive(Clone)]
pub(super) struct Gate {
    own: Uid,
    group: Option<Gid>,
    group_name: String,
    members: Arc<Mutex<HashMap<u32, (Instant, bool)>>>,
    usage: Usage,
}

impl Gate {
    pub(super) fn new(own: Uid, group: Option<Gid>, group_name: String, usage: Usage) -> Gate {
        Gate { own, group, group_name, members: Arc::default(), usage }
    }

    /// The caller's identity, if it may call.
    pub(super) async fn admit<T>(&self, request: &Request<T>) -> Result<Origin, Status> {
        let admitted = self.look_at(request.extensions()).await;
        self.usage.called(admitted.is_ok());
        admitted
    }

    async fn look_at(&self, extensions: &Extensions) -> Result<Origin, Status> {
        let peer = extensions.get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        let Some(peer) = peer else {
            return Err(Status::permission_denied("the kernel does not say who is calling"));
        };
        let origin = Origin { uid: peer.uid(), gid: peer.gid() };
        if self.knows(origin) || self.is_member(origin.uid).await { Ok(origin) } else { Err(self.refusal(origin)) }
    }

    /// The caller's identity, if it is root or the agent's own user: the others give and read events, and change nothing.
    /// `act` is what it is about to do.
    pub(super) async fn admit_owner<T>(&self, request: &Request<T>, act: &str) -> Result<Origin, Status> {
        let origin = self.admit(request).await?;
        if self.owns(origin) {
            return Ok(origin);
        }
        let uid = origin.uid;
        Err(Status::permission_denied(format!("user {uid} may not {act}: only root and the agent's own user may")))
    }

    /// Whether the caller is root or the agent's own user.
    pub(super) fn owns(&self, origin: Origin) -> bool {
        let uid = Uid::from_raw(origin.uid);
        uid.is_root() || uid == self.own
    }

    /// Whether the credentials alone suffice.
    fn knows(&self, origin: Origin) -> bool {
        self.owns(origin) || self.group == Some(Gid::from_raw(origin.gid))
    }

    async fn is_member(&self, uid: u32) -> bool {
        let Some(group) = self.group else { return false };
        if let Some(member) = self.remembered(uid) {
            return member;
        }
        // The account database may be a file or a directory server.
        let member = tokio::task::spawn_blocking(move || has_group(uid, group)).await.unwrap_or(false);
        self.remember(uid, member);
        member
    }

    fn remembered(&self, uid: u32) -> Option<bool> {
        let members = lock(&self.members);
        members.get(&uid).filter(|(asked, _)| asked.elapsed() < MEMBERSHIP_AGE_MAX).map(|&(_, member)| member)
    }

    fn remember(&self, uid: u32, member: bool) {
        let mut members = lock(&self.members);
        if members.len() >= MEMBERSHIPS_MAX {
            members.clear();
        }
        members.insert(uid, (Instant::now(), member));
    }

    fn refusal(&self, origin: Origin) -> Status {
        let uid = origin.uid;
        Status::permission_denied(match self.group {
            Some(_) => {
                let group = &self.group_name;
                format!("user {uid} may not use the agent's socket: become root or join the group `{group}`")
            }
            None => format!("user {uid} may not use the agent's socket: only root and the agent's own user may"),
        })
    }
}

/// Whether the account database counts the user into the group.
fn has_group(uid: u32, group: Gid) -> bool {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(group: Option<u32>) -> Gate {
        Gate::new(Uid::from_raw(990), group.map(Gid::from_raw), "rodent".to_owned(), Usage::default())
    }

    #[test]
    fn root_the_own_user_and_the_group_are_known_by_their_credentials() {
        let gate = gate(Some(991));
        assert!(gate.knows(Origin { uid: 0, gid: 5 }));
        assert!(gate.knows(Origin { uid: 990, gid: 5 }));
        assert!(gate.knows(Origin { uid: 1234, gid: 991 }));
        assert!(!gate.knows(Origin { uid: 1234, gid: 5 }));
    }

    #[test]
    fn a_member_of_the_group_owns_nothing() {
        let gate = gate(Some(991));
        assert!(gate.owns(Origin { uid: 0, gid: 5 }) && gate.owns(Origin { uid: 990, gid: 5 }));
        assert!(!gate.owns(Origin { uid: 1234, gid: 991 }));
    }

    #[tokio::test]
    async fn a_caller_without_credentials_is_refused() {
        let status = gate(None).admit(&Request::new(())).await.expect_err("refused");
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
    }

    #[tokio::test]
    async fn a_user_that_the_account_database_does_not_know_is_refused_and_told_what_to_join() {
        let gate = gate(Some(991));
        assert!(!gate.is_member(4_000_000_001).await);
        let refusal = gate.refusal(Origin { uid: 4_000_000_001, gid: 1 });
        assert!(refusal.message().contains("join the group `rodent`"), "{}", refusal.message());
    }

    #[test]
    fn supplementary_groups_count() {
        // Everywhere, root's own primary group is among root's groups.
        assert!(has_group(0, Gid::from_raw(0)));
        assert!(!has_group(0, Gid::from_raw(4_000_000_001)));
    }

    #[test]
    fn what_is_remembered_of_members_is_bounded() {
        let gate = gate(Some(991));
        for uid in 0..2000 {
            gate.remember(uid, false);
        }
        assert!(gate.members.lock().expect("no poison").len() <= MEMBERSHIPS_MAX);
        assert_eq!(gate.remembered(1999), Some(false));
    }
}
