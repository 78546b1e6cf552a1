// Starts the documentation page. There is no build step, and no request goes to another host.
//
// It adds three things to Swagger UI: a new Idempotency-Key for each new request, so that an example is not a
// replay by accident; ids copied from an answer into the fields that need them next; and an Authorize dialog
// that opens at its top, where the development client is filled in.
"use strict";

const HOLDS = ["/v1/holds", "post"];
const BOOKINGS = ["/v1/bookings", "post"];

function drawKeys(spec) {
  for (const operation of operationsOf(spec)) {
    for (const parameter of operation.parameters || []) {
      if (parameter.name === "Idempotency-Key" && parameter.example) {
        parameter.example = newKey();
      }
    }
  }
}

function operationsOf(spec) {
  return Object.values(spec.paths).flatMap((path) => Object.values(path));
}

function newKey() {
  const drawn = crypto.getRandomValues(new Uint8Array(8));
  return "try-" + Array.from(drawn, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Sets the value of every parameter of that name, replacing what was typed.
function carry(system, name, value) {
  system.specSelectors.specJson().get("paths").forEach((operations, path) => {
    operations.forEach((_operation, method) => fill(system, [path, method], name, value));
  });
}

function fill(system, [path, method], name, value) {
  const parameters = system.specSelectors.specJson().getIn(["paths", path, method, "parameters"]);
  const found = parameters && parameters.find((parameter) => parameter.get("name") === name);
  if (found) {
    system.specActions.changeParamByIdentity([path, method], found, value, false);
  }
}

function carryHold(system, hold) {
  carry(system, "hold_id", hold.id);
  const written = system.oas3Selectors.requestBodyValue(...BOOKINGS) || exampleOf(system);
  try {
    const body = JSON.parse(written);
    body.hold_id = hold.id;
    body.payment = { ...body.payment, ...hold.price.total };
    const value = JSON.stringify(body, null, 2);
    system.oas3Actions.setRetainRequestBodyValueFlag({ value: true, pathMethod: BOOKINGS });
    system.oas3Actions.setRequestBodyValue({ value, pathMethod: BOOKINGS });
  } catch {
    // The body is being edited and is not valid JSON at present: leave it unchanged.
  }
}

function exampleOf(system) {
  const place = ["paths", ...BOOKINGS, "requestBody", "content", "application/json", "example"];
  return JSON.stringify(system.specSelectors.specJson().getIn(place).toJS());
}

function carryBooking(system, booking) {
  carry(system, "booking_id", booking.id);
  carry(system, "record_locator", booking.record_locator);
  carry(system, "family_name", booking.passengers[0].family_name);
}

function onAnswer(system, path, method, answer) {
  if (answer.status !== 201 || method !== "post") {
    return;
  }
  fill(system, [path, method], "Idempotency-Key", newKey());
  const body = JSON.parse(answer.text);
  if (path === HOLDS[0]) {
    carryHold(system, body);
  } else if (path === BOOKINGS[0]) {
    carryBooking(system, body);
  }
}

function Carrying() {
  const setResponse = (original, system) => (path, method, answer) => {
    const result = original(path, method, answer);
    onAnswer(system, path, method, answer);
    return result;
  };
  return { statePlugins: { spec: { wrapActions: { setResponse } } } };
}

// The bearer field at the bottom takes the focus, and the dialog scrolls down to it.
function OpeningAtTheTop() {
  const showDefinitions = (original) => (definitions) => {
    const result = original(definitions);
    requestAnimationFrame(() => {
      document.querySelector(".modal-ux input")?.focus();
      document.querySelector(".modal-ux-content")?.scrollTo(0, 0);
    });
    return result;
  };
  return { statePlugins: { auth: { wrapActions: { showDefinitions } } } };
}

async function start(place) {
  const url = new URL(place.dataset.document, location.href).href;
  const spec = await (await fetch(url)).json();
  drawKeys(spec);
  const ui = SwaggerUIBundle({
    spec,
    domNode: place,
    plugins: [Carrying, OpeningAtTheTop],
    // Otherwise the browser asks for a name and a password if the secret of a client is wrong.
    requestInterceptor: (request) => Object.assign(request, { credentials: "omit" }),
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    defaultModelExpandDepth: 3,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    validatorUrl: null,
  });
  if (place.dataset.client) {
    ui.initOAuth({ clientId: place.dataset.client, clientSecret: place.dataset.client });
  }
}

start(document.getElementById("docs"));
