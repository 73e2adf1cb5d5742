// The page of a small panel: it shows the display of a host by noVNC, and its serial line by xterm.js. TestConsoles calls
// the functions of window.page.
import RFB from './node_modules/@novnc/novnc/core/rfb.js';
import { Terminal } from './node_modules/@xterm/xterm/lib/xterm.mjs';
import { AttachAddon } from './node_modules/@xterm/addon-attach/lib/addon-attach.mjs';

const consoles = `ws://${location.host}/vm/v3/console`;
const protocols = (ticket) => ['binary', `slipway.${ticket}`];
const element = (id) => document.getElementById(id);

let rfb;
let terminal;
let reports = 0;

async function post(path, body) {
	const answer = await fetch(path, { method: 'POST', body: JSON.stringify(body) });
	const text = await answer.text();
	if (!answer.ok) {
		throw new Error(`${path}: ${answer.status} ${text}`);
	}
	return JSON.parse(text);
}

// login has the session in a cookie, as panels do.
async function login(email, password) {
	const { token } = await post('/auth/v4/public/token', { email, password });
	document.cookie = `ses6=${token}; path=/; samesite=strict`;
}

const ticket = async (host, kind) => (await post(`/vm/v3/host/${host}/console`, { kind })).ticket;

// showScreen ends when noVNC has the size of the display.
async function showScreen(host) {
	rfb = new RFB(element('screen'), consoles, { wsProtocols: protocols(await ticket(host, 'vnc')) });
	await new Promise((resolve, reject) => {
		rfb.addEventListener('connect', resolve);
		rfb.addEventListener('disconnect', () => reject(new Error('noVNC is disconnected')));
		rfb.addEventListener('securityfailure', (e) => reject(new Error(`noVNC: ${e.detail.reason}`)));
	});
	rfb.focus();
}

// showLine ends when xterm.js is attached to the serial line.
async function showLine(host) {
	const socket = new WebSocket(consoles, protocols(await ticket(host, 'serial')));
	await new Promise((resolve, reject) => {
		socket.onopen = resolve;
		socket.onclose = (e) => reject(new Error(`the serial line is closed: ${e.code} ${e.reason}`));
	});
	terminal = new Terminal({ rows: 40, cols: 120 });
	terminal.open(element('line'));
	terminal.loadAddon(new AttachAddon(socket));
	terminal.onData((data) => { reports += /^\x1b\[\d+;\d+R$/.test(data); });
	socket.onclose = (e) => terminal.write(`\r\nclosed ${e.code}\r\n`);
	terminal.focus();
}

// text returns what xterm.js shows and has shown.
function text() {
	const buffer = terminal.buffer.active;
	return Array.from({ length: buffer.length }, (_, i) => buffer.getLine(i).translateToString(true)).join('\n');
}

// picture returns what noVNC shows: its size, how many colours it has, and a digest of its pixels.
async function picture() {
	const canvas = element('screen').querySelector('canvas');
	const { width, height } = canvas;
	const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
	const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
	return { width, height, colours: new Set(new Uint32Array(data.buffer)).size, digest: digest.toHex() };
}

// opens reports whether a page of this origin may open a console.
const opens = (url, ticket) => new Promise((resolve) => {
	const socket = new WebSocket(url, protocols(ticket));
	socket.onopen = () => resolve(true);
	socket.onclose = () => resolve(false);
});

window.page = {
	login, ticket, showScreen, showLine, text, picture, opens,
	reports: () => reports, // of where the cursor is, for a guest that has asked
	focusScreen: () => rfb.focus(),
	focusLine: () => terminal.focus(),
};
