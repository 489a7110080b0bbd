import { afterEach, describe, expect, it, vi } from "vitest";
import { ApiError, getJson } from "../src/data/api";
import { askSession, giveToken, signedIn, tokenWanted } from "../src/data/session";

const answer = (status: number, body: unknown) => vi.stubGlobal("fetch", vi.fn(async () => new Response(JSON.stringify(body), { status })));

afterEach(() => {
  vi.unstubAllGlobals();
  tokenWanted.value = false;
});

describe("session", () => {
  it("asks for a token when a question was turned away, and not for other refusals", async () => {
    answer(403, { error: "no" });
    await expect(getJson("/api/v1/top", new AbortController().signal)).rejects.toThrow(ApiError);
    expect(tokenWanted.value).toBe(false);
    answer(401, { error: "this collector wants a token" });
    await expect(getJson("/api/v1/top", new AbortController().signal)).rejects.toThrow("wants a token");
    expect(tokenWanted.value).toBe(true);
  });
  it("knows whether it is signed in, and takes no answer for no", async () => {
    answer(200, { needed: true, signed_in: true, scopes: ["read"] });
    await askSession();
    expect(signedIn.value).toBe(true);
    answer(500, { error: "no" });
    await askSession();
    expect(signedIn.value).toBe(false);
  });
  it("gives a token in the body alone, and says why it was not taken", async () => {
    answer(200, { needed: true, scopes: ["read"] });
    expect(await giveToken("fk_x")).toBeNull();
    expect(fetch).toHaveBeenCalledWith("/api/v1/session", expect.objectContaining({ method: "POST", body: '{"token":"fk_x"}' }));
    answer(401, { error: "this token is not known here" });
    expect(await giveToken("fk_y")).toBe("this token is not known here");
  });
});
