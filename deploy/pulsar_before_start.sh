#!/bin/sh
# Run this before each start of a Pulsar whose manager runs jobs itself (queued_python), for example
# as ExecStartPre= of its systemd unit:  pulsar_before_start.sh STAGING_DIRECTORY
#
# Pulsar 0.15 tells of a job that it lost by a message queue alone. Galaxy that asks by HTTP would
# hear for ever that the job runs. So here each job that ran when Pulsar ended gets its end: its own
# exit code when it has one, else 143, for which our tools say that the server ended the job.
set -eu
staging=$(cd "$1" 2>/dev/null && pwd -P) || exit 0

end() {
    [ -s "$1/return_code" ] || echo 143 > "$1/return_code"
    rm -f "$1/pid" "$1/submitted"
}

for job in "$staging"/*; do
    [ -f "$job/pid" ] || continue
    pid=$(tr -cd 0-9 < "$job/pid")
    # A number may belong to another program by now; a job's own runs in the job's folder.
    if [ "$(readlink "/proc/$pid/cwd" || true)" = "$job/working" ]; then
        # It outlived Pulsar: end it for Pulsar when it has ended.
        (
            while [ "$(readlink "/proc/$pid/cwd" || true)" = "$job/working" ]; do sleep 1; done
            end "$job"
        ) > /dev/null 2>&1 < /dev/null &
    else
        end "$job"
    fi
done
