"use strict";
// Passwords, tokens, and the one error that a client is told the reason of.

const { createSecretKey } = require("node:crypto");

const bcrypt = require("bcrypt");
const jwt = require("jsonwebtoken");

if (!process.env.JWT_SECRET) throw new Error("JWT_SECRET is not set");
// A key made once: jsonwebtoken first tries to read a string as PEM, which takes it 0.7 ms a token.
const SECRET = createSecretKey(Buffer.from(process.env.JWT_SECRET));
const BCRYPT_ROUNDS = Number(process.env.BCRYPT_ROUNDS ?? 12);

class HttpError extends Error {
  constructor(status, code) {
    super(code);
    this.status = status;
    this.code = code;
  }
}

function hashPassword(password) {
  return bcrypt.hash(password, BCRYPT_ROUNDS);
}

function issueToken(userId) {
  return jwt.sign({}, SECRET, { algorithm: "HS256", subject: userId, expiresIn: "15m" });
}

/** Return the user id of a valid token. */
function verifyToken(token) {
  return jwt.verify(token, SECRET, { algorithms: ["HS256"] }).sub;
}

/** Express middleware: `request.userId`, or 401. */
function authenticate(request, response, next) {
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  try {
    if (scheme !== "Bearer") throw new Error("no bearer token");
    request.userId = verifyToken(token);
  } catch {
    next(new HttpError(401, "invalid_token"));
    return;
  }
  next();
}

module.exports = { HttpError, authenticate, hashPassword, issueToken, verifyToken };
