# The steps of a trial: read with `.` on the machine that is tried, by arrays-inside.sh and pools-inside.sh. A step does something to
# the machine and compares what the agent tells of it, and what it says is wrong then, with what has to be: no line more, and none
# less. `begin` comes first, `finish` last, which ends with the number of steps that differ.
# shellcheck shell=bash
set -u
differ=0
# What depends on how fast the machine is: a sed script that levels or drops it.
levelled=${levelled:-}
# What may be told or not without being expected, for the machine may be done with it before somebody looks: a pattern of lines.
unsure=${unsure:-^$}
# What is told again as it grows, so that it depends on the machine how often: a pattern of lines that count once.
growing=${growing:-^$}
# Kinds of events that are looked at.
kinds=${kinds:-(storage|usage)\.[a-z_.]+}
# How long a step may take until all is told, seconds: a collector's longest turn here, on a slow machine.
STEP_MAX=${STEP_MAX:-90}
# After that, what nobody expects may still come.
QUIET=${QUIET:-3}

# Tells the kernel that something keeps its clock, as a time service does: adjtimex() with a status (1: by a loop) and small errors.
keep_clock() { perl -e 'my $words = pack("L x4 q4 l x164", 0x1c, 0, 0, 1000, 1000, 1); syscall(159, $words) >= 0 or die "adjtimex: $!\n"'; }

# The agent runs, and nothing is new.
begin() {
    keep_clock
    systemd-sysusers && systemd-tmpfiles --create rodent.conf
    systemctl start rodent
    until rodent status >/dev/null 2>&1; do sleep 1; done
    sleep "$QUIET"
    rodent events --as trial > /dev/null
}

# What has come since the last time: level, kind and sentence. Where the machine is slow an event of a hook may come twice, with one
# identifier (docs/hooks.md): it counts once.
news() {
    rodent events --as trial -o jsonl | perl -e '
        open my $told, "+>>", "/run/trial.told" or die "$!\n";
        seek $told, 0, 0;
        my %told = map { $_ => 1 } <$told>;
        while (my $event = <STDIN>) {
            my ($id, $level, $kind, $text) = map { $event =~ /"$_":"((?:[^"\\]|\\.)*)"/ } qw(id level kind text);
            next if $told{"$id\n"}++;
            print $told "$id\n";
            print "$level $kind $text\n";
        }' | grep -E "^[a-z]+ $kinds " | sed -E "$levelled"
}

# What is wrong now: level, thing and sentence, without since when and what to do.
wrong() {
    rodent problems | awk -F '  +' '/^(warn|error|critical) / { print "wrong " $1 " " $3 ": " $4 }' | sed -E "$levelled" | sort
}

# In order, each as often as it came.
folded() { sed '/^$/d' | sort; }

# What is compared: all but what is unsure and not expected, and what grows once.
compared() {
    awk -v unsure="$unsure" -v growing="$growing" 'NR == FNR { expected[$0]; next } $0 ~ growing && seen[$0]++ { next }
        $0 ~ unsure && !($0 in expected) { next } { print }' <(echo "$expected") -
}

# lacks EXPECTED IS: whether a line of the one is not in the other.
lacks() { [ -n "$(comm -23 <(echo "$1") <(echo "$2" | folded))" ]; }

# step WHAT COMMANDS; what has to be told, and what is wrong then, stands in the standard input.
step() {
    local told="" expected events is is_wrong begun=$SECONDS end
    expected=$(folded)
    events=$(echo "$expected" | grep -v '^wrong ')
    printf '\n== %s\n' "$1"
    eval "$2" > /tmp/step.log 2>&1 || { echo "FAILED: $2"; cat /tmp/step.log; differ=$((differ + 1)); }
    end=$((SECONDS + STEP_MAX))
    while ((SECONDS < end)); do
        told=$(printf '%s\n' "$told" "$(news)" | folded)
        # Each question costs a slow machine seconds: what is wrong is asked for once all else has come.
        lacks "$events" "$told" || lacks "$expected" "$told
$(wrong)" || break
        sleep 1
    done
    sleep "$QUIET"
    told=$(printf '%s\n' "$told" "$(news)" | folded)
    is_wrong=$(wrong)
    printf '%s\n' "$told" "$is_wrong" | sed '/^$/d; s/^/  /'
    is=$(printf '%s\n' "$told" "$is_wrong" | folded | compared)
    [ "$is" = "$expected" ] || { differ=$((differ + 1)); echo "DIFFERS:"; diff <(echo "$expected") <(echo "$is"); }
    echo "  took $((SECONDS - begun)) s"
}

# Waits until a command succeeds.
await() {
    local second
    for ((second = 0; second < STEP_MAX; second++)); do
        eval "$1" && return
        sleep 1
    done
    echo "in vain: $1" >&2
    return 1
}

# All that was told, and how everything is in the end.
finish() {
    printf '\n-- events\n'
    rodent events --utc -n 10000 'level>=info' | grep -E " ($kinds) "
    printf '\n-- state\n'
    rodent state | cat
    printf '\n-- problems\n'
    rodent problems | cat
    printf '\n-- the agent\n'
    rodent status | cat
    journalctl -u rodent -p warning --no-pager -q | tail -20
    [ "$differ" = 0 ] || printf '\n%s steps differ\n' "$differ"
    exit "$differ"
}
