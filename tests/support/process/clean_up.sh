# Waits for the pipe on stdin to close, then for every supervised command to be gone, then removes the folder.
#
#   sh -c THIS clean-up FOLDER [keep]
#
# The line "detach" on stdin ends this script at once. It exits with 1 when a command was still there after 10 seconds.
if IFS= read -r word && [ "$word" = detach ]; then exit 0; fi
rounds=0
while [ -n "$(ls "$1/pids" 2>/dev/null)" ] && [ "$rounds" -lt 500 ]; do
    sleep 0.02
    rounds=$((rounds + 1))
done
status=0
[ "$rounds" -lt 500 ] || status=1
[ "${2-}" = keep ] || rm -rf "$1"
exit "$status"
