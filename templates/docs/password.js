// Shows a password when its user asks, and marks the rules that it keeps while it is typed.
// The pages work without it; the service checks every rule itself.

const kinds = { upper: /\p{Lu}/u, lower: /\p{Ll}/u, digit: /\p{Nd}/u };

function isKept({ rule, least }, password) {
  return rule === "length" ? [...password].length >= Number(least) : kinds[rule].test(password);
}

function mark(rules, password) {
  for (const item of rules.querySelectorAll("[data-rule]")) {
    const kept = isKept(item.dataset, password);
    item.classList.toggle("kept", kept);
    item.querySelector(".unseen").textContent = kept ? `: ${rules.dataset.kept}` : "";
  }
}

function setShown(button, input, shown) {
  input.type = shown ? "text" : "password";
  const { show, showLabel, hide, hideLabel } = button.dataset;
  button.textContent = shown ? hide : show;
  button.setAttribute("aria-label", shown ? hideLabel : showLabel);
}

for (const button of document.querySelectorAll(".secret button")) {
  const input = document.getElementById(button.getAttribute("aria-controls"));
  button.hidden = false;
  button.addEventListener("click", () => {
    setShown(button, input, input.type === "password");
    input.focus();
  });
  // Browsers offer to save a password, and never its text, only from a field of this type.
  input.form.addEventListener("submit", () => setShown(button, input, false));

  const rules = document.getElementById(`${input.id}-rules`);
  if (rules) {
    for (const item of rules.querySelectorAll("[data-rule]")) {
      item.append(Object.assign(document.createElement("span"), { className: "unseen" }));
    }
    input.addEventListener("input", () => mark(rules, input.value.normalize("NFC")));
    mark(rules, input.value.normalize("NFC"));
  }
}
