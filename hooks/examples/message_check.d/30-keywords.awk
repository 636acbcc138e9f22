#!/usr/bin/awk -f
# A check in awk: each keyword found in the subject or the text adds to the message's score; one phrase refuses it outright.
#
# Copy the folder message_check.d with this file into hooks_dir and chmod +x. The message is on standard input, CRLF and all.
# Nothing on standard output is no opinion; a JSON object is one: here {"action": "accept", "score": 3} leaves the decision to the
# sum of all scores (config "spam"), and {"action": "reject", ...} ends it. An awk that fails defers: no mail is lost by it.

BEGIN {
    ARGC = 1                                # the argument is the hook's name, not a file to read
    score["lottery"] = 3; score["wire transfer"] = 2; score["act now"] = 1.5; score["no prescription"] = 4
    never = "your computer has been hacked by me"
}

{ sub(/\r$/, "") }
/^$/ && !in_body { in_body = 1; next }
!in_body && !/^[Ss]ubject:/ { next }        # of the header, the subject alone

{
    text = tolower($0)
    if (index(text, never)) refused = 1
    for (word in score) if (!(word in seen) && index(text, word)) { seen[word] = 1; total += score[word]; found = found " " word }
}

END {
    if (refused)
        print "{\"action\": \"reject\", \"text\": \"we have read this one before\", \"reason\": \"keywords.awk\"}"
    else if (total > 0)
        printf "{\"action\": \"accept\", \"score\": %.1f, \"reason\": \"keywords:%s\"}\n", total, found
}
