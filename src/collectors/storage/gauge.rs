//! How file systems are asked for their size: the domain of mounts asks what has come, that of the fill all that can fill up.
//!
//! Always holds: what hangs is left behind once, whoever asks; each that does not answer is a blind spot until it does or is
//! gone.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::Mutex;

pub(super) use super::mounts::Spaces;
use super::mounts::{Mounts, Place, is_remote};
use crate::{
    collectors::{CollectError, Context},
    host::space::{Asked, SpaceError, SpaceProbe},
    order::Sorted as _,
    telemetry::ErrorChain,
};

/// What it is blind to, before the mount point.
const FILE_SYSTEM: &str = "file system ";

/// Shared by those who ask. Cheap to copy.
#[derive(Clone, Default)]
pub(super) struct Gauge {
    asking: Arc<Mutex<Asking>>,
}

#[derive(Default)]
struct Asking {
    probe: SpaceProbe,
    /// File systems that refuse to tell, so that it is logged once.
    refusing: BTreeSet<String>,
}

impl Gauge {
    /// Those that give no size are left out. Local ones go first, for they answer.
    pub(super) async fn measure<'a>(
        &self,
        context: &Context,
        places: impl Iterator<Item = &'a Place>,
    ) -> Result<Spaces, CollectError> {
        let mut spaces = Spaces::new();
        // The mount points of a fixture tree lie on the machine's own file system.
        if !context.host.is_live() {
            return Ok(spaces);
        }
        let mut places: Vec<_> = places.map(|place| (is_remote(&place.fstype), place)).collect();
        places.order_by(Ord::cmp);
        let asked =
            |&(is_remote, place): &(bool, &Place)| Asked { path: context.host.path(&place.mountpoint), is_remote };
        let asked: Vec<_> = places.iter().map(asked).collect();
        let mut asking = self.asking.lock().await;
        let answers = asking.probe.look(&asked).await;
        for ((_, place), answer) in places.into_iter().zip(answers) {
            let what = format!("{FILE_SYSTEM}{}", place.mountpoint);
            let blind = match answer {
                Ok(space) => {
                    asking.refusing.remove(&place.mountpoint);
                    spaces.insert(place.clone(), space);
                    None
                }
                // It may be one that only its owner may look into.
                Err(error @ SpaceError::Refused { .. }) => {
                    if asking.refusing.insert(place.mountpoint.clone()) {
                        tracing::debug!(error = %ErrorChain(&error), "the file system does not tell how full it is");
                    }
                    None
                }
                Err(error) => Some(error.to_string()),
            };
            context.note(&what, blind).await?;
        }
        Ok(spaces)
    }

    /// What is not mounted any more is no blind spot.
    pub(super) async fn forget_all_but(&self, context: &Context, mounts: &Mounts) -> Result<(), CollectError> {
        context.sees_gone(FILE_SYSTEM, |name| mounts.keys().any(|place| place.mountpoint == name)).await
    }
}
