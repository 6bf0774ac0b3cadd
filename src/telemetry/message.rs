//! The messages that an operator acts on, each with an identifier that never changes: `journalctl MESSAGE_ID=…` finds them,
//! and `journalctl -x` explains them from `packaging/catalog/rodent.catalog`, which has a text for each.
//!
//! Given as the field `message_id` where such a message is logged; in the journal it becomes `MESSAGE_ID`, on standard error
//! it is not shown.

use std::fmt;

/// Name of the field that holds it.
pub const FIELD: &str = "message_id";

/// A message that an operator acts on. Displays its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// 128 bits in hexadecimal, as journald wants them. Never given to another message.
    pub id: &'static str,
    /// Its name in this table.
    pub name: &'static str,
    /// What has happened when it is logged.
    pub meaning: &'static str,
    /// What a person does about it while it lasts; empty for what does not last.
    pub advice: &'static str,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

macro_rules! messages {
    ($(#[doc = $meaning:literal] $name:ident = $id:literal $(=> $advice:literal)?;)+) => {
        $(
            #[doc = $meaning]
            pub const $name: Message = Message {
                id: $id,
                name: stringify!($name),
                meaning: $meaning.trim_ascii_start(),
                advice: concat!($($advice)?),
            };
        )+

        /// Every one of them.
        pub const ALL: &[Message] = &[$($name),+];
    };
}

messages! {
    /// The agent takes events.
    AGENT_READY = "5fed186693a442e493ffc33184a72aa7";
    /// The controller cannot be reached; events are kept.
    CONTROLLER_AWAY = "28a29ed110bf4294a7688b11798ab252"
        => "the agent tries again by itself; `rodent doctor` tells where the way ends";
    /// Events reach the controller.
    CONTROLLER_BACK = "67e62fbb4bfe4065a2bc3d4ce684892c";
    /// The controller is there and takes nothing until somebody acts; events are kept.
    CONTROLLER_REFUSES = "c4b4e8ce420f496584b7557a7afb1f71"
        => "set right what it refuses; the agent goes on by itself";
    /// A token or certificate is not accepted, or cannot be used.
    CREDENTIALS_REFUSED = "3bde3667a45a436cb7aae5607aa15d4a";
    /// The token of this node ends soon, or has ended.
    TOKEN_EXPIRES = "bfa5095f21ca4fda834a60e84051a1da"
        => "have the controller's administrator issue one (`rodent-controller token`) and put it into the token file; the agent reads it at once";
    /// The certificate of this node ends soon, or has ended.
    CERTIFICATE_EXPIRES = "4b17f2936d0745d683ab2c81444babb0"
        => "renew it; one that the controller issues is renewed by itself while the agent runs";
    /// The controller does not take one event; it is kept aside.
    DEAD_LETTER = "029a72398e27481c89743d8fca151f18"
        => "rodent dead-letters list";
    /// A sink cannot be reached; events are kept for it.
    SINK_AWAY = "e270c6ae3a0d4b488abbfdce50f63200"
        => "look whether the receiver runs, the network leads there and the agent may read the files that the sink names; it tries by itself";
    /// Events reach a sink.
    SINK_BACK = "3f2861be58984ac88fa8abfc08883db7";
    /// A sink takes nothing until somebody acts; events are kept for it.
    SINK_REFUSES = "6585b9a76be84957b8178ac8ce239e20"
        => "correct its URL, token or key, or remove it from the configuration; then `rodent reload`";
    /// Somebody has paused a sink; events are kept for it.
    SINK_PAUSED = "147f950ee167481d90622b2fe23e64dc"
        => "rodent sinks resume NAME";
    /// Who waits for this machine's call is not reached.
    BEAT_FAILS = "efc66511ffcc42f7a4331a650ee25462"
        => "look whether `beat.url` is right and whether the network leads there; the agent calls again by itself";
    /// No program came for a consumer for long.
    CONSUMER_MISSING = "917b526c4bfd4f05bf6d8a622e575abe"
        => "start its program, or `rodent consumers remove` it";
    /// A program that consumes events says how it is.
    CONSUMER_SAYS = "8fdae115da6b4be18e0a46b4e2204a05"
        => "look at that program";
    /// A part of the event log cannot be read.
    LOG_DAMAGED = "28d2323b6ff74438b6dc1fb2631d8db0"
        => "keep them for whoever looks into it, or remove that directory; then `rodent log check` with the agent stopped";
    /// What was damaged is out of the way; the event log goes on.
    LOG_REPAIRED = "0fb685b516e64c5781639c247696bc5e";
    /// The disk of the event log is full or cannot be written; events are kept in memory.
    DISK_FAILS = "a16d72edbfd74b69bf737d0473b86aff"
        => "look at the disk of the state directory: `df -h -i`, `dmesg`";
    /// The disk of the event log can be written again.
    DISK_BACK = "28074bce404947a48c2809016582b980";
    /// Events are gone that no controller has; a loss record says which.
    EVENTS_LOST = "2152f7bd987e44d2980efd073ca358e2"
        => "rodent events 'system.loss.*' tells when and why";
    /// The event log takes no events.
    LOG_REFUSES = "3e41c83a700944aa8b856868ee88929a"
        => "look at the disk of the state directory: `df -h -i`, `dmesg`";
    /// The event log is full; the oldest events will be removed.
    LOG_FULL = "88de3bb8195c4f7b88de73b631eae88c"
        => "bring the controller back, or raise `events.max_disk`";
    /// The disk of the event log does not answer.
    WRITER_STUCK = "95614d37438e4d41bc9b2913f03aa36c"
        => "look at the disk of the state directory: `dmesg`, `cat /proc/pressure/io`";
    /// The disk of the event log answers again.
    WRITER_MOVES = "19b91c54548e455e8ea37ecbb4d76140";
    /// A part of the agent does not get on; the agent ends, to be started again.
    AGENT_STUCK = "47588e0783344c6f8d36ae01a774137a";
    /// A part of the agent has ended by a fault; it starts again, or the agent ends, to be started again.
    PART_ENDED = "2141475ff1a54214a7efcd14f5aeb453"
        => "it is a fault of the agent: report it, with journalctl -u rodent";
    /// An urgent event, as the event log has it.
    URGENT_EVENT = "4c25579707ac47ea9f80a7a7ec565c6e";
    /// More urgent events came than the journal is to hold; the event log has them all.
    URGENT_FOLDED = "cf61d6bb21d045ff8be9b8317b425cfb";
    /// The configuration is wrong and is not used.
    CONFIGURATION_REFUSED = "cf5083f841714cbc83431398c96f89c8"
        => "rodent config check; then rodent reload";
    /// The configuration has changed, and only a restart puts some of it in force.
    RESTART_NEEDED = "bfe6fc16af1149f0aba6a2967bb01139"
        => "systemctl restart rodent";
    /// A controller has changed settings, as `controller.may` lets it; they are in force until the files are read again.
    SETTINGS_OF_CONTROLLER = "8d2fc22018814620880ad1fc840d9a4e"
        => "nothing where that is meant; `rodent reload` takes them back";
    /// The configuration was read again and is in force.
    CONFIGURATION_APPLIED = "c6f49047f2a84cdf85a4359db9c5a237";
    /// A collector has failed, and starts again.
    COLLECTOR_FAILS = "7c278c98d15d4b188387a5e0717f0f82"
        => "journalctl -u rodent -e";
    /// A collector cannot see a part of what it looks at.
    COLLECTOR_BLIND = "99ae7e7c9a524941b434a7fd994b877c"
        => "mend what does not answer, or leave it out in `collectors`";
    /// What hooks left while the agent was away cannot be taken in.
    SPOOL_FAILS = "253f0ce5044b469b850b35edfe9be24b"
        => "look at `spool` in the state directory, its owner and its disk";
    /// What is wrong with the machine is not followed, or cannot be written down for the next start.
    STATES_FAIL = "08cf6d68c7d84575b0dfe7540ae9d97a"
        => "look at the disk of the state directory: `df -h -i`, `dmesg`; the agent tries again by itself";
    /// What is wrong with the machine is not known yet: much of the log is to be folded.
    STATES_BEHIND = "8fd9acc8d72c4f1a9d0c39e59cbbc4ac"
        => "nothing: the agent reads its log, which takes seconds to a minute";
    /// More things are wrong than the agent keeps in mind.
    STATES_FULL = "302f386b2c2f45c4a741cc780143f4fb"
        => "mend the first of `rodent problems`; rodent events 'level>=warn' has them all";
    /// What is wrong with the machine was folded anew from the events that are left.
    STATES_REBUILT = "5af2e40d61a245f8ad47bbb68774ced6";
    /// The clock of this machine is not kept in step.
    CLOCK_UNSYNCHRONISED = "aa507829c74c45eabd40a92ea6199add"
        => "timedatectl set-ntp true, or start chrony; then `timedatectl` tells";
    /// The clock of this machine is in step again.
    CLOCK_SYNCHRONISED = "3b6a2c59d6734d578ec37f218554256a";
    /// The journal did not read for a while, and lines of the agent are missing.
    LINES_MISSING = "61a2cc93d24d40a38896aa06d1a64b1d";
    /// A message came too often, and was not written each time.
    LINES_LEFT_OUT = "4982aaced1b149ac845d115bde0550b6";
}
