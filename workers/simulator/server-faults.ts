import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { type FaultControl, type FaultRule, isServerFault, type ServerFault } from './faults.ts';
import type { Machine } from './machine.ts';

/** Time in which running calls may end after `sigterm-drain`, ms. */
const DRAIN_MS = 6000;

/** The switch of all faults: those of calls wait in the machine, those of the whole server happen here. */
export class ServerFaults implements FaultControl {
  private readonly machine: Machine;
  private readonly server: Server;
  private readonly sockets: ReadonlySet<Socket>;
  private active: FaultRule[] = [];
  private drain: NodeJS.Timeout | undefined;

  constructor(machine: Machine, server: Server, sockets: ReadonlySet<Socket>) {
    this.machine = machine;
    this.server = server;
    this.sockets = sockets;
  }

  get rules(): readonly FaultRule[] {
    return [...this.active, ...this.machine.faults.rules];
  }

  set(rule: FaultRule): void {
    if (isServerFault(rule.fault)) {
      this.active.push(rule);
      this.strike(rule.fault, rule.ms ?? DRAIN_MS);
    } else {
      this.machine.faults.add(rule);
    }
  }

  clear(): void {
    clearTimeout(this.drain);
    this.active = [];
    this.machine.faults.clear();
    this.machine.state = 'serves';
    this.machine.engine.thaw();
  }

  private strike(fault: ServerFault, ms: number): void {
    const { machine, server } = this;
    switch (fault) {
      case 'freeze':
        machine.engine.freeze();
        break;
      case 'engine-dead':
        machine.killEngine();
        break;
      case 'sigterm-abort':
        server.close();
        machine.endCalls('abort');
        break;
      case 'sigterm-silent':
        server.close();
        machine.endCalls('silent');
        break;
      case 'sigterm-drain':
        machine.state = 'drains';
        this.drain = setTimeout(() => machine.endCalls('silent'), ms);
        this.drain.unref();
        break;
      case 'front-killed':
        server.close();
        for (const socket of this.sockets) {
          socket.end();
          socket.destroySoon();
        }
        break;
    }
  }
}
