// One sale with a client that openapi-typescript and openapi-fetch make: token, search, hold, book, the
// event. `./run` makes the types and starts this; the argument is where Holdfast answers.

import createClient from "openapi-fetch";
import type { components, paths } from "./holdfast";

type Hold = components["schemas"]["HoldOut"];
type Order = components["schemas"]["BookingIn"];

const base = process.argv[2] ?? "http://localhost:8000";

async function main(): Promise<void> {
  const client = createClient<paths>({
    baseUrl: base,
    headers: { Authorization: `Bearer ${await token()}` },
  });

  const offers = await client.GET("/v1/offers", {
    params: { query: { origin: "SCL", destination: "LIM", departure_date: inTwoWeeks() } },
  });
  const offer = known(offers.data, offers.error).data[0]!;
  console.log(`offer    ${offer.price.total.amount} ${offer.price.total.currency}`);

  const held = await client.POST("/v1/holds", {
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
    body: { offer_id: offer.id },
  });
  const hold = known(held.data, held.error);
  console.log(`hold     ${hold.id} for ${hold.expires_in_seconds} s`);

  const request = {
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
    body: order(hold),
  };
  const booked = await client.POST("/v1/bookings", request);
  const booking = known(booked.data, booked.error);
  console.log(`booking  ${booking.record_locator}`);

  const again = await client.POST("/v1/bookings", request);
  check(again.response.headers.get("Idempotent-Replayed") === "true", "a replay");
  check(again.data?.id === booking.id, "the same booking");

  const refused = await client.POST("/v1/bookings", {
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
    body: order(hold),
  });
  check(refused.response.status === 409, "a refusal");
  console.log(`again    ${refused.error!.code}`);

  const deadline = Date.now() + 10_000;
  let after: string | undefined;
  while (Date.now() < deadline) {
    const events = await client.GET("/v1/events", { params: { query: { limit: 200, after } } });
    const page = known(events.data, events.error);
    const found = page.data.find((event) => event.aggregate.id === booking.id);
    if (found) {
      console.log(`event    ${found.type}`);
      return;
    }
    after = page.meta.after ?? after;
    if (!page.meta.has_more) {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  throw new Error("no event within ten seconds");
}

async function token(): Promise<string> {
  const answer = await fetch(`${base}/dev/oidc/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "client_credentials",
      client_id: "demo",
      client_secret: "demo",
    }),
  });
  check(answer.ok, "a token");
  return ((await answer.json()) as { access_token: string }).access_token;
}

function order(hold: Hold): Order {
  return {
    hold_id: hold.id,
    passengers: [
      { type: "ADT", given_name: "Violeta", family_name: "Parra", born_on: "1990-10-04" },
    ],
    contact: { email: "violeta@example.com", phone: "+56912345678" },
    payment: { reference: "pay-1", ...hold.price.total },
  };
}

function inTwoWeeks(): string {
  return new Date(Date.now() + 14 * 86_400_000).toISOString().slice(0, 10);
}

function known<T>(data: T | undefined, error: unknown): T {
  if (data === undefined) {
    throw new Error(`refused: ${JSON.stringify(error)}`);
  }
  return data;
}

function check(isTrue: boolean, what: string): void {
  if (!isTrue) {
    throw new Error(`expected ${what}`);
  }
}

await main();
