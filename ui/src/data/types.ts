/** Profile types in plain English: pure, so that it is tested without a browser. */

interface Told {
  name: string;
  /** A sentence for who looks at it: what it is and what it is not. */
  note?: string;
}

const TYPES: Record<string, Told> = {
  cpu: { name: "CPU time" },
  cycles: { name: "CPU cycles" },
  touched_space: {
    name: "Memory first touched",
    note: "Who first touched pages of memory, by sampled page faults. Not what is still held: see Leaks for that.",
  },
  inuse_space: { name: "Live heap" },
  inuse_objects: { name: "Live heap, blocks" },
  alloc_space: { name: "Heap allocated" },
  alloc_objects: { name: "Heap allocated, blocks" },
};

/** The type's name for people; its own where it has no other. */
export function typeName(type: string): string {
  return Object.hasOwn(TYPES, type) ? TYPES[type].name : type;
}

/** What is to be known before a conclusion is drawn from it; empty where nothing is. */
export function typeNote(type: string): string {
  return Object.hasOwn(TYPES, type) ? (TYPES[type].note ?? "") : "";
}
