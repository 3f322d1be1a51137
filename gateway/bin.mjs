#!/usr/bin/env node
// The installed command: checks the Node that runs it, then loads the rest.
import './node-floor.mjs';

await import('./cli.ts');
