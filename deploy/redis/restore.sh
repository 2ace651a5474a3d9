#!/bin/sh
# Restore a backup of Redis (an RDB file) into its data folder. Stop Redis first.
#
#   sh -c "$(cat deploy/redis/restore.sh)" restore [FOLDER] < dump.rdb
#
# FOLDER is /data by default. Run it as the user that Redis runs as. Your own shell reads this script
# and the backup, so that user needs no right to read either.
#
# The backup is copied and checked before anything else is touched. What the folder had is renamed,
# never deleted. The backup becomes the base of a new append-only file, followed by a command that
# pauses the queue `generate`, for each database in it: only DARKROOM_REDIS_URL says which is meant.
set -eu
umask 077

folder=${1:-/data}
log=$folder/appendonlydir
new=$folder/appendonlydir.restoring
old=$folder/appendonlydir.before-restore-$(date -u +%Y%m%dT%H%M%SZ)
base=$new/appendonly.aof.1.base.rdb

refuse() {
    rm -rf "$new"
    echo "Not restored, and nothing was changed: $1" >&2
    exit 1
}

check=$(command -v valkey-check-rdb || command -v redis-check-rdb) ||
    refuse "neither valkey-check-rdb nor redis-check-rdb is on the PATH."
[ ! -t 0 ] || refuse "the backup must be the input (< dump.rdb)."
[ -d "$folder" ] || refuse "there is no folder $folder."
[ -w "$folder" ] || refuse "$folder cannot be written by user $(id -un)."
# the user of Redis could not read files that root wrote
for one in "$log" "$folder"; do
    if [ -e "$one" ] && [ ! -O "$one" ] && { [ "$one" = "$log" ] || [ "$(id -u)" = 0 ]; }; then
        refuse "$one does not belong to user $(id -un): run this as the user that Redis runs as."
    fi
done

rm -rf "$new"
mkdir "$new" || refuse "$folder cannot be written."
cat > "$base" || refuse "the backup could not be copied to $folder."
[ -s "$base" ] || refuse "the backup is empty."
if [ "${check##*/}" = redis-check-rdb ] && [ "$(head -c 6 "$base")" = VALKEY ]; then
    refuse "the backup comes from Valkey, which redis-check-rdb cannot read. Put valkey-check-rdb on the PATH."
fi
found=$("$check" "$base" 2>&1) ||
    refuse "${check##*/} says that the backup is damaged: $(echo "$found" | sed -n '/ERROR DETECTED/{n;p;}')."
end=$(echo "$found" | sed -n 's/.*\[offset \([0-9]*\)\] Checksum OK.*/\1/p')
[ "$end" = "$(wc -c < "$base" | tr -d ' ')" ] || refuse "the backup does not end with its checksum."
grep -q '{dr}:' "$base" || refuse "the backup has no data of Darkroom in it."

databases=$(echo "$found" | sed -n 's/.*Selecting DB ID \([0-9]*\).*/\1/p')
[ -n "$databases" ] || refuse "${check##*/} names no database in the backup."

# when it was paused, in milliseconds
now=$(date +%s)000
# shellcheck disable=SC2016 # $6 is the length of a word in the protocol of Redis
for database in $databases; do
    printf '*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n' "${#database}" "$database"
    printf '*4\r\n$4\r\nHSET\r\n$9\r\n{dr}:gate\r\n$15\r\npaused:generate\r\n$%d\r\n%s\r\n' "${#now}" "$now"
done > "$new/appendonly.aof.1.incr.aof" || refuse "$folder cannot be written."
{
    echo 'file appendonly.aof.1.base.rdb seq 1 type b'
    echo 'file appendonly.aof.1.incr.aof seq 1 type i'
} > "$new/appendonly.aof.manifest" || refuse "$folder cannot be written."
sync

trap '' HUP INT TERM
if [ -e "$log" ]; then
    mv "$log" "$old" || refuse "$log cannot be renamed."
fi
if ! mv "$new" "$log"; then
    [ ! -e "$old" ] || mv "$old" "$log"
    refuse "$new cannot be renamed."
fi
sync
echo "Restored $(echo "$found" | sed -n 's/.*\] \([0-9]* keys\) read.*/\1/p'). The queue generate is paused."
[ ! -e "$old" ] || echo "What was there before is in $old. Delete it when it is no longer needed."
