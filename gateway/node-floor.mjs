// Runs on any Node: says in one line what is missing, before a newer feature fails in a confusing way.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 12)) {
  console.error(
    `faregate needs Node 22.12 or newer, but this is ${process.versions.node}.\n` +
      'In a checkout, `npm ci` installs Node 24 beside the other packages; it needs install scripts to be allowed.',
  );
  process.exit(1);
}
