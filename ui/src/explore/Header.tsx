import { signedIn, signOut } from "../data/session";
import { helpOpen } from "./focus";
import { Icon, Logo } from "./icons";
import { theme, type Theme } from "./theme";

const NEXT: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
const ICON = { auto: "auto", light: "sun", dark: "moon" } as const;

const PAGES: readonly [path: string, name: string][] = [["/", "Services"], ["/explore", "Explore"], ["/diff", "Diff"], ["/leaks", "Leaks"], ["/hosts", "Hosts"]];

export function Header() {
  const now = theme.value;
  const explore = PAGES.every(([path]) => path === "/explore" || path !== location.pathname);
  return (
    <header class="header">
      {explore && <h1 class="visually-hidden">Explore profiles</h1>}
      <a class="brand" href="/"><Logo />Flamekeeper</a>
      <nav aria-label="Pages">
        {PAGES.map(([path, name]) => {
          const on = path === location.pathname || (explore && path === "/explore");
          return <a key={path} href={path} aria-current={on ? "page" : undefined}>{name}</a>;
        })}
      </nav>
      <span class="spacer" />
      <button type="button" class="control quiet-control" onClick={() => (theme.value = NEXT[now])} title={`Colours: ${now}`} aria-label={`Colours: ${now}`} data-testid="theme"><Icon name={ICON[now]} /></button>
      {signedIn.value && <button type="button" class="control quiet-control" onClick={() => void signOut()} data-testid="sign-out">Sign out</button>}
      {(explore || location.pathname === "/diff") && <button type="button" class="control quiet-control" onClick={() => (helpOpen.value = true)} title="Keys  ?" aria-label="Keys">?</button>}
    </header>
  );
}
