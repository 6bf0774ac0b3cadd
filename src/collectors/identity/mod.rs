//! Identity: the domain that the machine is a member of, by Samba's winbind or by sssd: joined, left, out of reach, and whether it
//! takes the machine's account.
//!
//! Users and groups of a domain are not followed: there may be a hundred thousand, and its servers tell them better. Local ones are
//! told by the collector `system`.

mod answers;
mod membership;

use self::membership::Membership;
use super::{Collector, CollectorRun, CollectorSpec, Context, driver::Driver};
use crate::settings::Table;

pub(super) const SPEC: CollectorSpec = CollectorSpec {
    name: "identity",
    about: "membership in a domain, by winbind and sssd",
    emits: &[
        "identity.computer.account_refused",
        "identity.computer.account_taken",
        "identity.computer.joined",
        "identity.computer.left",
        "identity.computer.offline",
        "identity.computer.online",
        "system.host.blind_spot",
        "system.host.inventory",
        "system.host.sees_again",
    ],
    enabled: true,
    build: |_: &mut Table| Box::new(Identity),
};

struct Identity;

impl Collector for Identity {
    fn run(self: Box<Self>, context: Context) -> CollectorRun {
        Box::pin(Driver::new(context, SPEC.name).with(Membership::default()).run())
    }
}
