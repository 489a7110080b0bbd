import { helpOpen } from "./focus";
import { Icon, Logo } from "./icons";
import { theme, type Theme } from "./theme";

const NEXT: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
const ICON = { auto: "auto", light: "sun", dark: "moon" } as const;

export function Header() {
  const now = theme.value;
  return (
    <header class="header">
      <a class="brand" href="/"><Logo />Flamekeeper</a>
      <nav aria-label="Pages"><a href={location.pathname} aria-current="page">Explore</a></nav>
      <span class="spacer" />
      <button type="button" class="control quiet-control" onClick={() => (theme.value = NEXT[now])} title={`Colours: ${now}`} aria-label={`Colours: ${now}`} data-testid="theme"><Icon name={ICON[now]} /></button>
      <button type="button" class="control quiet-control" onClick={() => (helpOpen.value = true)} title="Keys  ?" aria-label="Keys">?</button>
    </header>
  );
}
