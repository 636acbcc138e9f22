// SPDX-License-Identifier: Apache-2.0
// A mirror of an inbox as a program keeps it that knows QRESYNC: node mirror.cjs sync|change|idle port user password state.json
// Prints one line of JSON: what was new, changed, gone. "idle" prints "idling", then what is pushed, and ends.
const fs = require("node:fs");
const { ImapFlow } = require("imapflow");

const [verb, port, user, pass, file] = process.argv.slice(2);
const client = new ImapFlow({
  host: "127.0.0.1",
  port: Number(port),
  secure: false,
  doSTARTTLS: true,
  tls: { rejectUnauthorized: false },
  auth: { user, pass },
  logger: false,
  qresync: true,
});

async function sync() {
  const state = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : { messages: {} };
  const gone = [];
  client.on("expunge", (event) => gone.push(event.uid));
  const box = await client.mailboxOpen("INBOX", state.modseq ? { changedSince: BigInt(state.modseq), uidValidity: BigInt(state.validity) } : {});
  const since = state.modseq && state.validity === String(box.uidValidity) ? { changedSince: BigInt(state.modseq) } : {};
  const fresh = [];
  const changed = [];
  for await (const message of client.fetch("1:*", { uid: true, flags: true, envelope: true }, since)) {
    (state.messages[message.uid] ? changed : fresh).push(message.uid);
    state.messages[message.uid] = { id: message.envelope.messageId, flags: [...message.flags].filter((flag) => flag !== "\\Recent").sort() };
  }
  for (const uid of gone) delete state.messages[uid];
  state.validity = String(box.uidValidity);
  state.modseq = String(box.highestModseq);
  fs.writeFileSync(file, JSON.stringify(state));
  console.log(JSON.stringify({ new: fresh.length, changed: changed.length, gone: gone.length, enabled: [...client.enabled] }));
}

async function change() {
  await client.mailboxOpen("INBOX");
  await client.messageFlagsAdd("1:20", ["\\Flagged"], { uid: true });
  const moved = await client.messageMove("21:40", "Archive", { uid: true });
  const added = await client.append("INBOX", "Message-ID: <near@client.test>\r\nSubject: near\r\n\r\nnear\r\n", ["\\Seen"]);
  const found = await client.search({ header: { subject: "near" } }, { uid: true });
  console.log(JSON.stringify({ moved: moved.uidMap.size, added: added.uid, found }));
}

async function idle() {
  const box = await client.mailboxOpen("INBOX");
  const pushed = new Promise((resolve) => client.on("exists", resolve));
  client.idle();
  console.log("idling");
  const event = await pushed;
  console.log(JSON.stringify({ before: box.exists === event.count ? event.prevCount : box.exists, count: event.count }));
}

(async () => {
  await client.connect();
  await { sync, change, idle }[verb]();
  await client.logout();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
