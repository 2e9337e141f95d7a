# Runs a command and ends it for sure when the pipe on stdin closes, however its other end went away (drop, panic,
# SIGKILL). A parent-death signal would do the same only for a thread, not for the process, and needs `unsafe`.
#
#   sh -c THIS supervise PID_FILE LOG COMMAND ARGUMENT...
#
# The line "detach" on stdin lets the command outlive the other end. The pid file is there while the command runs; this
# script exits as the command did.
exec 3<&0 </dev/null
pid_file=$1
log=$2
shift 2
"$@" >>"$log" 2>&1 3<&- &
child=$!
(
    if IFS= read -r word <&3 && [ "$word" = detach ]; then exit 0; fi
    # There is nothing to save, so the sure signal is the right one.
    kill -KILL "$child"
) 2>/dev/null &
guard=$!
exec 3<&-
echo "$child" >"$pid_file"
wait "$child" 2>/dev/null
status=$?
kill "$guard" 2>/dev/null
rm -f "$pid_file"
exit "$status"
