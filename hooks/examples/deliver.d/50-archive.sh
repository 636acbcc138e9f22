#!/bin/sh
# Delivery by a shell script: mail to archive@... is kept as files, one for each message, in a folder for each month.
#
# Copy the folder deliver.d with this file and its .yaml into hooks_dir, chmod +x, and set ARCHIVE. The message is on standard
# input, the envelope in the environment (the names of Postfix's local(8)). Exit status 0: delivered; 75: try again later;
# any of 64 to 78: bounce. A line such as "4.3.1 disk full" says it with an enhanced status code, which counts more.
# MTA_ID and RECIPIENT name the file: a delivery that is made twice, as any may be after a crash, writes the same file again.
# The script runs as the account mta-hook (or nobody), which must be able to write ARCHIVE, and never as root.

ARCHIVE=/var/lib/mta-archive

month=$ARCHIVE/$(date -u +%Y-%m)
name=$MTA_ID-$(printf %s "$RECIPIENT" | tr / _)

if ! mkdir -p "$month" || ! cat > "$month/.$name" || ! mv "$month/.$name" "$month/$name.eml"; then
    echo "4.3.1 the archive cannot be written"
    exit 75
fi
echo "archived as $name"
