/** The page's own icons: 16 px, drawn with the text's colour. */

const PATHS = {
  back: "M10 3 5 8l5 5",
  forth: "m6 3 5 5-5 5",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10Zm3.600-1.400L14 14",
  link: "M6.500 9.500 9.500 6.500M7 4.500l1.300-1.300a3 3 0 0 1 4.300 4.300L11.300 8.800M9 11.500l-1.300 1.300a3 3 0 0 1-4.300-4.300L4.700 7.200",
  download: "M8 2v8m0 0L5 7m3 3 3-3M3 13.500h10",
  down: "m4 6 4 4 4-4",
  undo: "M6 3 3 6l3 3M3 6h6.500a3.500 3.500 0 0 1 0 7H7",
  close: "m4 4 8 8m0-8-8 8",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6Zm0-3.500v1m0 11v1M1.500 8h1m11 0h1M3.400 3.400l.7.7m7.800 7.800.7.7m0-9.200-.7.7m-7.800 7.800-.7.7",
  moon: "M13 9.500A5.500 5.500 0 1 1 6.500 3a4.500 4.500 0 0 0 6.500 6.500Z",
  auto: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Zm0 0v12",
  refresh: "M13 8a5 5 0 1 1-1.500-3.500M13 2v3h-3",
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} fill="none" stroke="currentColor" stroke-width="1.400" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 24 24" aria-hidden="true">
      <path class="logo-outer" d="M12.600 1.600c.7 3.600-1 5.700-2.900 7.900C7.700 11.800 5.400 14 5.400 17a6.600 6.100 0 0 0 13.200 0c0-2.500-1.100-4.500-2.300-6.300-.3 1.500-.9 2.500-2 3.200.6-4.300.2-9.100-1.700-12.300Z" />
      <path class="logo-inner" d="M12.200 13.200c-1.500 1.600-3 2.900-3 5a2.900 2.900 0 0 0 5.800 0c0-1.500-.7-2.500-1.300-3.400-.2.600-.6 1-1 1.200.1-1 0-2-.5-2.800Z" />
    </svg>
  );
}
