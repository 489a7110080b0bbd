import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { CallTree } from "../data/decode";
import { visibleRows } from "../data/rows";
import { carryOpen, hasChildren, heavyChain, listRows, moveRow, type TreeRows as Rows } from "../data/treeRows";
import { lastSegment } from "../flame/names";
import { Amount } from "./Amount";
import { openMenu } from "./menuState";
import { scrollToRow, useViewport } from "./scroll";

const ROW = 24;
const INDENT = 14;

interface TreeRowsProps {
  tree: CallTree;
  root: number;
  withRoot: boolean;
  unit: string;
  /** What 100 per cent is. */
  all: number;
  label: string;
  testId: string;
  /** Heading of the value that includes callees. */
  totalLabel?: string;
  showSelf?: boolean;
  takesFocus?: boolean;
  /** A row was chosen; a row of what was cut stands for its caller. */
  onSelect?: (node: number) => void;
  /** Enter or a double click. */
  onEnter?: (node: number) => void;
  /** Whether a row has the menu of its function. */
  menu?: boolean;
}

/** A call tree as rows that open and close: only those in view are in the page. */
export function TreeRows(props: TreeRowsProps) {
  const { tree, root, withRoot, label, showSelf = true, totalLabel = "Total" } = props;
  const body = useRef<HTMLDivElement>(null);
  const viewport = useViewport(body);
  const [open, setOpen] = useOpen(tree, root);
  const [at, setAt] = useState(0);
  const rows = useMemo(() => listRows(tree, root, open, withRoot), [tree, root, open, withRoot]);
  useEffect(() => setAt(0), [tree, root]);
  useEffect(() => {
    if (props.takesFocus) body.current?.focus({ preventScroll: true });
  }, []);
  const select = (row: number) => {
    setAt(row);
    if (body.current) scrollToRow(body.current, row, ROW);
    const node = rows.node[row];
    props.onSelect?.(node < 0 ? ~node : node);
  };
  const toggle = (node: number) => {
    const next = new Set(open);
    if (!next.delete(node)) next.add(node);
    setOpen(next);
  };
  const onKeyDown = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const node = rows.node[at];
    const move = moveRow(tree, rows, open, at, e.key);
    if (move) "to" in move ? select(move.to) : toggle(move.toggle);
    else if (e.key === " " && hasChildren(tree, node)) toggle(node);
    else if (e.key === "*" && node >= 0) setOpen(new Set([...open, ...heavyChain(tree, node)]));
    else if (e.key === "Enter") props.onEnter?.(node < 0 ? ~node : node);
    else return;
    e.preventDefault();
  };
  const { first, last } = visibleRows(rows.node.length, viewport.scroll, viewport.height, ROW);
  const id = (row: number) => `${props.testId}-${row}`;
  return (
    <div class="tree-rows" data-testid={props.testId}>
      <div class={`table-head ${showSelf ? "" : "one-value"}`} aria-hidden="true">
        <span>{label}</span>
        {showSelf && <span class="cell-self">Self</span>}
        <span class="cell-total">{totalLabel}</span>
      </div>
      <div class="table-body" ref={body} tabIndex={0} role="treegrid" aria-label={label} aria-rowcount={rows.node.length} aria-activedescendant={at >= first && at < last ? id(at) : undefined} onKeyDown={onKeyDown}
        onContextMenu={(e) => {
          // The menu key, on the list itself: the row that is selected.
          const selected = document.getElementById(id(at));
          if (props.menu && selected && rows.node[at] >= 0) openMenu(e, tree, rows.node[at], selected);
        }}>
        <div class="table-space" style={{ height: `${rows.node.length * ROW}px` }}>
          <div style={{ transform: `translateY(${first * ROW}px)` }}>
            {Array.from(rows.node.subarray(first, last), (node, i) => (
              <Row key={node} {...props} rows={rows} row={first + i} id={id(first + i)} open={open.has(node)} selected={first + i === at} onToggle={() => toggle(node)} onPick={() => select(first + i)} />
            ))}
          </div>
        </div>
      </div>
    </div>
  );
}

interface RowProps extends TreeRowsProps {
  rows: Rows;
  row: number;
  id: string;
  open: boolean;
  selected: boolean;
  onToggle: () => void;
  onPick: () => void;
}

function Row({ tree, rows, row, id, open, selected, unit, all, showSelf = true, menu, onToggle, onPick, onEnter }: RowProps) {
  const node = rows.node[row];
  const { frames } = tree;
  const cut = node < 0;
  const frame = tree.frame[cut ? ~node : node];
  const opens = hasChildren(tree, node);
  const name = cut ? "narrower than the answer holds" : node === 0 ? "all" : frames.name[frame] || "(no name)";
  const depth = cut ? tree.depth[~node] + 1 : tree.depth[node];
  return (
    <div id={id} class={`row ${selected ? "selected" : ""} ${cut ? "cut" : ""} ${showSelf ? "" : "one-value"}`} role="row" aria-level={depth + 1} aria-expanded={opens ? open : undefined} aria-selected={selected} aria-rowindex={row + 1}
      title={cut ? "Zoom in here to see each of them" : `${name}\n${frames.module[frame]}`}
      onClick={onPick} onDblClick={() => onEnter?.(cut ? ~node : node)} onContextMenu={(e) => { if (!menu || cut) return; e.stopPropagation(); onPick(); openMenu(e, tree, node); }}>
      <span class="cell-name" role="gridcell" style={{ paddingLeft: `${Math.min(rows.indent[row], 40) * INDENT}px` }}>
        <button type="button" class="twist" tabIndex={-1} aria-hidden="true" disabled={!opens} onClick={(e) => { e.stopPropagation(); onPick(); onToggle(); }}>{opens ? (open ? "▾" : "▸") : "\u00a0"}</button>
        <span class="name">{name}</span>
        {!cut && node > 0 && <span class="module">{lastSegment(frames.module[frame])}</span>}
      </span>
      {showSelf && <Amount value={cut ? 0 : tree.self[node]} all={all} unit={unit} id="self" />}
      <Amount value={cut ? tree.cut[~node] : tree.total[node]} all={all} unit={unit} id="total" />
    </div>
  );
}

// What is open stays open in a new answer to the same question; a new root begins with its heaviest chain.
function useOpen(tree: CallTree, root: number): [Set<number>, (open: Set<number>) => void] {
  const [kept, keep] = useState<{ tree: CallTree; root: number; open: Set<number> } | null>(null);
  const open = useMemo(() => {
    if (!kept) return heavyChain(tree, root);
    if (kept.tree === tree) return kept.root === root || kept.open.has(root) ? kept.open : new Set([...kept.open, ...heavyChain(tree, root)]);
    const carried = carryOpen(kept.tree, kept.open, tree);
    return carried.size > 0 ? carried : heavyChain(tree, root);
  }, [tree, root, kept]);
  return [open, (next) => keep({ tree, root, open: next })];
}
