import { signal } from "@preact/signals";
import type { CallTree } from "../data/decode";

/** What a menu is about: a function, and the place in a call tree where it was asked for, if any. */
export interface MenuSubject {
  readonly name: string;
  readonly module: string;
  readonly at: { readonly tree: CallTree; readonly node: number } | null;
  /** Client pixels. */
  readonly x: number;
  readonly y: number;
  /** What gets the focus back. */
  readonly opener: HTMLElement | null;
}

/** What a menu stands under when a key asked for it. */
interface Below {
  getBoundingClientRect(): { left: number; bottom: number };
}

/** The open menu; null for none. */
export const menu = signal<MenuSubject | null>(null);

/** Opens the menu of a node where the event was, or below an element where a key asked for it. */
export function openMenu(e: MouseEvent, tree: CallTree, node: number, below?: Below): void {
  const frame = tree.frame[node];
  open(e, { name: tree.frames.name[frame], module: tree.frames.module[frame], at: { tree, node } }, below);
}

/** Opens the menu of a function that stands in no particular place. */
export function openFunctionMenu(e: MouseEvent, { name, module }: { name: string; module: string }, below?: Below): void {
  open(e, { name, module, at: null }, below);
}

function open(e: MouseEvent, subject: Pick<MenuSubject, "name" | "module" | "at">, below?: Below): void {
  e.preventDefault();
  const box = below?.getBoundingClientRect();
  menu.value = { ...subject, x: box ? box.left + 24 : e.clientX, y: box ? box.bottom : e.clientY, opener: document.activeElement as HTMLElement | null };
}
