// What the runs in a real browser are made of: steps with a name, and what must hold in them.

/** Ends the step with what does not hold. */
export function need(holds, what) {
  if (!holds) throw new Error(what);
}

/** Runs a step and prints how long it took; its failure carries its name. */
export async function step(name, run) {
  const began = performance.now();
  try {
    await run();
  } catch (error) {
    throw new Error(`${name}: ${error.message}`);
  }
  console.log(`ok   ${name} (${Math.round(performance.now() - began)} ms)`);
}
